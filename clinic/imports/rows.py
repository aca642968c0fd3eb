"""What a row asks for, done by the same services as if a person had asked."""

from uuid import UUID

from django.utils.dateparse import parse_date

from clinic.cases.models import Case, ItemKind
from clinic.cases.services import open_case, receive_item
from clinic.errors import MarrowError
from clinic.imports.models import ImportKind, RowStatus
from clinic.patients.models import Patient, Sex
from clinic.patients.services import register_patient

COLUMNS = ("mrn", "name", "birth_date", "sex", "synthetic", "title", "history")
IDENTIFIES = {ImportKind.CASES: ("mrn", "name"), ImportKind.LABS: ("mrn|case",)}
TRUTHS = {"": False, "false": False, "0": False, "no": False, "true": True, "1": True, "yes": True}
LENGTHS = {"mrn": 64, "name": 200, "title": 200}


class Rejected(Exception):
    def __init__(self, code, place, problem, remedy):
        super().__init__(problem)
        self.said = {"code": code, "place": place, "problem": problem, "remedy": remedy}


def take(job, content, number):
    """What becomes of the row: its status and what was made. Raises Rejected."""
    try:
        return _case(job, content) if job.kind == ImportKind.CASES else _labs(job, content, number)
    except MarrowError as error:
        raise Rejected(error.code, error.place, error.problem, error.remedy) from error


def _case(job, content):
    person = _person(content)
    patient = Patient.objects.filter(site=job.site, mrn=person["mrn"]).select_related("site").first()
    if patient is None:
        patient = register_patient(site=job.site, by=job.by, **person)
    elif patient.name != person["name"] or (person["birth_date"] and patient.birth_date != person["birth_date"]):
        problem = "This record number belongs to a patient of another name or birth date."
        raise Rejected("other_patient", "mrn", problem, "Correct the number, or the patient.")
    said = {name: content.get(name, "") for name in ("title", "history")}
    known = patient.cases.filter(**said).first()
    case = known or open_case(patient=patient, by=job.by, **said)
    return {"status": RowStatus.UNCHANGED if known else RowStatus.CREATED, "patient": patient, "case": case}


def _person(content):
    for name, most in LENGTHS.items():
        if len(content.get(name, "")) > most:
            raise Rejected("too_long", name, f"It is longer than {most} characters.", "Shorten it.")
    return {
        "mrn": content.get("mrn", ""),
        "name": content.get("name", ""),
        "birth_date": _date(content.get("birth_date", "")),
        "sex": _one_of("sex", content.get("sex", "").lower() or Sex.UNKNOWN, Sex.values),
        "synthetic": TRUTHS[_one_of("synthetic", content.get("synthetic", "").lower(), TRUTHS)],
    }


def _date(text):
    try:
        found = parse_date(text) if text else None
    except ValueError:
        found = None
    if text and found is None:
        raise Rejected("no_date", "birth_date", f"{text[:20]!r} is no date.", "Write it as 1990-05-17.")
    return found


def _one_of(place, value, known):
    if value not in known:
        raise Rejected(
            "unknown_value", place, f"{value[:20]!r} is not known.", f"Use {', '.join(filter(None, known))}."
        )
    return value


def _labs(job, content, number):
    case = _case_of(job, content)
    values = {name: text for name, text in content.items() if name not in ("mrn", "case") and text}
    if not values:
        raise Rejected("no_values", "", "The row has no laboratory value.", "Fill in at least one column.")
    table = "\n".join(",".join(_quoted(cell) for cell in line) for line in (values, values.values())) + "\n"
    filename = f"{job.filename} line {number}.csv"
    item = receive_item(case=case, file=[table.encode()], filename=filename, kind=ItemKind.LABS, by=job.by)
    return {"status": RowStatus.CREATED, "patient": case.patient, "case": case, "item": item}


def _case_of(job, content):
    """The case that the row names; or the only one of the patient whom it names."""
    cases = Case.objects.filter(patient__site=job.site).select_related("patient__site")
    if said := content.get("case"):
        try:
            found = cases.filter(pk=UUID(said)).first()
        except ValueError:
            found = None
        if found is None:
            raise Rejected("unknown_case", "case", "There is no such case at this site.", "Give the id of a case.")
        return found
    of_patient = list(cases.filter(patient__mrn=content.get("mrn", ""))[:2])
    if not of_patient:
        problem = "There is no case of a patient with this record number at this site."
        raise Rejected("no_case", "mrn", problem, "Open one, or import the cases first.")
    if len(of_patient) > 1:
        problem = "This patient has several cases."
        raise Rejected("several_cases", "mrn", problem, "Name the case by its id, in the column case.")
    return of_patient[0]


def _quoted(cell):
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell
