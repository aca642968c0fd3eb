"""HL7 v2: what a laboratory sends, what it is told, and what became of it."""

import random

import pytest
from hl7apy.parser import parse_message

from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import StudyItem
from clinic.interop.hl7.models import Hl7Message
from clinic.interop.hl7.services import answer
from clinic.interop.results.models import HeldResult, LabResult, LocalCode
from tests.clinic.interop.messages import PANEL, fields, oru
from tests.factories import PatientFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def patient(site):
    return PatientFactory(site=site, mrn="M1", birth_date="1980-04-01")


@pytest.fixture
def send(site, integrator):
    def sent(message, *, control="C1"):
        ack = answer(message, site=site, by=integrator)
        parse_message(ack.decode(), find_groups=False)
        return fields(ack)

    return sent


def test_a_panel_is_taken_and_becomes_an_item_of_a_case(send, patient, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks():
        said = send(oru(*PANEL))
    assert said["MSA"][1:3] == ["AA", "C1"]
    assert "ERR" not in said
    assert said["MSH"][5] == "NORTH"
    values = dict(LabResult.objects.values_list("analyte", "value"))
    assert values == {"wbc": 48.2, "haemoglobin": 79.0, "platelets": 21.0, "ldh": 912.0}
    item = StudyItem.objects.get()
    assert (item.kind, item.case.patient) == ("labs", patient)
    assert AuditEvent.objects.filter(action=Action.RESULT_RECEIVE, patient_id=str(patient.pk)).count() == 4
    assert AuditEvent.objects.filter(action=Action.MESSAGE_RECEIVE).count() == 1


def test_the_same_message_again_is_answered_alike_and_does_nothing(send, patient):
    first, events = send(oru(*PANEL)), AuditEvent.objects.count()
    again = send(oru(*PANEL))
    assert first["MSA"] == again["MSA"]
    assert (LabResult.objects.count(), Hl7Message.objects.count()) == (4, 1)
    assert AuditEvent.objects.count() == events


def test_another_message_under_the_same_control_id_is_an_error(send, patient):
    send(oru(*PANEL))
    said = send(oru(*PANEL[:2]))
    assert said["MSA"][1] == "AE"
    assert said["ERR"][3].startswith("205^")


def test_a_correction_supersedes(send, patient):
    send(oru(*PANEL))
    send(oru(("NM", "6690-2^WBC^LN", "4.82", "10*3/uL", "C"), control="C2"))
    old, new = LabResult.objects.filter(analyte="wbc").order_by("received_at", "value").reverse()
    assert {old.value, new.value} == {48.2, 4.82}
    assert LabResult.objects.get(value=4.82).supersedes.value == 48.2
    assert LabResult.objects.get(value=48.2).status == "final"


def test_a_withdrawn_result_leaves_the_panel(send, patient):
    send(oru(*PANEL))
    send(oru(("NM", "777-3^PLT^LN", "", "", "W"), control="C2"))
    assert LabResult.objects.get(status="entered-in-error").analyte == "platelets"


def test_a_changed_value_that_is_not_called_a_correction_waits(send, patient):
    send(oru(*PANEL))
    assert send(oru(("NM", "6690-2^WBC^LN", "4.82", "10*3/uL", "F"), control="C2"))["MSA"][1] == "AA"
    assert HeldResult.objects.get().reason == "changed_result"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (("NM", "LEUK^Leukos^99LAB", "48", "G/L", "F"), "unknown_code"),
        (("NM", "1-8^Other^LN", "48", "G/L", "F"), "unknown_code"),
        (("NM", "6690-2^WBC", "48", "G/L", "F"), "unknown_code"),  # no coding system: it may be anybody's
        (("NM", "751-8^Neutrophils^LN", "55", "%", "F"), "wrong_unit"),
        (("NM", "6690-2^WBC^LN", "48", "", "F"), "missing_unit"),
        (("NM", "6690-2^WBC^LN", "&lt;0.1", "G/L", "F"), "not_a_number"),
        (("SN", "6690-2^WBC^LN", "<^0.1", "G/L", "F"), "not_a_number"),
        (("SN", "6690-2^WBC^LN", "^3^-^4", "G/L", "F"), "not_a_number"),
        (("ST", "6690-2^WBC^LN", "clotted", "G/L", "F"), "not_a_number"),
        (("NM", "6690-2^WBC^LN", "48~49", "G/L", "F"), "not_a_number"),
        (("NM", "6690-2^WBC^LN", "48", "G/L", ""), "unknown_status"),
        (("NM", "6690-2^WBC^LN", "48", "G/L", "W"), "unknown_result"),
    ],
)
def test_what_no_rule_can_place_waits_for_a_person(send, patient, result, reason):
    said = send(oru(result))
    assert said["MSA"][1] == "AA"
    held = HeldResult.objects.get()
    assert (held.reason, held.status) == (reason, "waiting")
    assert held.said["said_value"] == result[2]
    assert not LabResult.objects.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mrn": "M2"}, "unknown_patient"),
        ({"born": "19800402"}, "other_birth_date"),
        ({"pid": "PID|1||||Nobody^Known"}, "unknown_patient"),
        ({"taken": ""}, "no_time"),
        ({"taken": "20261399"}, "no_time"),
    ],
)
def test_whom_or_when_it_concerns_is_never_guessed(send, patient, change, reason):
    assert send(oru(*PANEL, **change))["MSA"][1] == "AA"
    assert set(HeldResult.objects.values_list("reason", flat=True)) == {reason}
    assert HeldResult.objects.count() == 4
    assert not LabResult.objects.exists()


def test_what_is_not_final_yet_is_counted_and_awaited(send, patient):
    send(oru(*PANEL[:3], ("NM", "3084-1^Urate^LN", "6", "mg/dL", "P")))
    assert Hl7Message.objects.get().counts == {"taken": 3, "not final": 1}
    assert not HeldResult.objects.exists()


@pytest.mark.parametrize("kind", ["SN", "ST"])
def test_a_number_by_another_data_type_is_a_number(send, patient, kind):
    send(oru((kind, "6690-2^WBC^LN", "=^48" if kind == "SN" else "48", "G/L", "F")))
    assert LabResult.objects.get().value == 48


def test_a_local_code_beside_its_loinc_is_read_by_the_loinc(send, patient):
    send(oru(("NM", "LEUK^Leukos^99LAB^6690-2^WBC^LN", "48", "G/L", "F")))
    assert LabResult.objects.get().analyte == "wbc"


BAD = [
    (b"", "AR", "100"),
    (b"hello", "AR", "100"),
    (b"MSH|", "AR", "100"),
    (b"MSH\r", "AR", "100"),
    (b"MSH\rPID|1||M1\rOBX|1", "AR", "100"),
    (b"MSH|^~\r\\&|A|B|C|D|1||ORU^R01|1|P|2.5\r", "AR", "100"),
    (b"MSH|^~\\&|\r", "AR", "101"),
    (b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5\r", "AE", "101"),
    (b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5", "AE", "101"),
    (b"MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5\r", "AR", "200"),
    (b"MSH|^~\\&|A|B|C|D|1||ORU^R01||P|2.5\r", "AR", "101"),
    (b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|T|2.5\r", "AR", "202"),
    (b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|3.0\r", "AR", "203"),
    (b"MSH||||||||ORU^R01|1|P|2.5\r", "AR", "100"),
    (b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5||||||KLINGON\r", "AR", "102"),
    (b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5\rPID|\xff\xfe\r", "AR", "102"),
    (b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5\rPID|1||M1\r", "AE", "101"),
    (b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5\rOBX|1|NM|718-7^Hb^LN||8|g/dL|||||F\r", "AE", "101"),
]


@pytest.mark.parametrize(("message", "code", "error"), BAD)
def test_what_is_no_message_is_refused_with_the_reason(send, message, code, error):
    said = send(message)
    assert said["MSA"][1] == code
    assert said["ERR"][3].startswith(f"{error}^")
    assert said["ERR"][8]
    assert not Hl7Message.objects.exists()


def test_latin_letters_and_escapes_are_read(send, patient):
    sent = oru(("NM", "X\\T\\Y^Gr\\XF6\\\xdfe^99LAB", "1", "cm", "F")).decode().replace("UNICODE UTF-8", "8859/1")
    send(sent.encode("latin-1"))
    assert (HeldResult.objects.get().local_code, HeldResult.objects.get().said["text"]) == ("99LAB|X&Y", "Größe")


def mutated(message, rng):
    """A message with a few bytes changed, cut, doubled or swapped."""
    data = bytearray(message)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        what = rng.randrange(5)
        if what == 0:
            data[at] = rng.randrange(256)
        elif what == 1:
            del data[at : at + rng.randint(1, 40)]
        elif what == 2:
            data[at:at] = data[at : at + rng.randint(1, 60)]
        elif what == 3:
            data[at:at] = rng.choice([b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"\x0b", b"\x1c", b"\0", b"\\X00\\"])
        else:
            data[at:at] = rng.choice([b"9" * 400, b"1e999", b"\xff\xfe", b"OBX|", b"MSH|^~\\&|", b"-0", b"\\H\\"])
        if not data:
            break
    return bytes(data)


def test_mutations_are_all_answered(send, patient):
    rng = random.Random(8)
    codes = [send(mutated(oru(*PANEL, control=f"C{n}"), rng))["MSA"][1] for n in range(60)]
    assert {"AA", "AR"} <= set(codes) <= {"AA", "AE", "AR"}


def test_a_fault_of_our_own_is_answered_too(send, patient, monkeypatch):
    def broken(**_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("clinic.interop.hl7.services.receive_result", broken)
    said = send(oru(*PANEL))
    assert (said["MSA"][1], said["ERR"][3][:4]) == ("AE", "207^")
    assert "bug" not in said["ERR"][8]
    assert not Hl7Message.objects.exists()


# --- a person decides ----------------


def test_a_person_says_what_a_local_code_means_and_it_is_remembered(api, send, patient, clinician):
    local = ("NM", "LEUK^Leukos^99LAB", "48", "G/L", "F")
    send(oru(local))
    listed = api(clinician).get("/api/v1/held-results").json()["results"]
    assert [row["reason"] for row in listed] == ["unknown_code"]
    url = f"/api/v1/held-results/{listed[0]['id']}"
    said = api(clinician).post(f"{url}/take", {"loinc": "6690-2", "remember": True})
    assert (said.status_code, said.json()["status"]) == (200, "taken")
    assert LabResult.objects.get().analyte == "wbc"
    assert LocalCode.objects.get().code == "99LAB|LEUK"
    assert api(clinician).post(f"{url}/take", {"loinc": "6690-2"}).status_code == 409
    send(oru(local, control="C2", order="F101"))
    assert LabResult.objects.count() == 2
    assert api(clinician).get("/api/v1/held-results").json()["results"] == []


def test_a_person_names_the_patient(api, send, patient, clinician, other_site):
    send(oru(PANEL[0], mrn="M9", born=""))
    held = HeldResult.objects.get()
    url = f"/api/v1/held-results/{held.pk}"
    stranger = PatientFactory(site=other_site)
    assert api(clinician).post(f"{url}/take", {}).json()["code"] == "missing"
    assert api(clinician).post(f"{url}/take", {"patient": str(stranger.pk)}).status_code == 404
    assert api(clinician).post(f"{url}/take", {"patient": str(patient.pk)}).status_code == 200
    assert LabResult.objects.get().patient == patient


def test_a_decision_that_does_not_fit_is_refused(api, send, patient, clinician):
    send(oru(("NM", "LEUK^Leukos^99LAB", "48", "%", "F")))
    url = f"/api/v1/held-results/{HeldResult.objects.get().pk}"
    assert api(clinician).post(f"{url}/take", {"loinc": "6690-2"}).json()["code"] == "wrong_unit"
    assert HeldResult.objects.get().status == "waiting"
    assert api(clinician).post(f"{url}/dismiss", {"reason": " "}).status_code == 400
    assert api(clinician).post(f"{url}/dismiss", {"reason": "A quality control sample"}).status_code == 200
    dismissed = api(clinician).get("/api/v1/held-results?status=dismissed").json()
    assert dismissed["results"][0]["decision"] == "A quality control sample"
    assert api(clinician).get("/api/v1/held-results?status=nonsense").status_code == 400
