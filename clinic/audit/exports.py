"""The log as a file for somebody else: CSV for a spreadsheet, NDJSON for a machine, FHIR AuditEvents for a hospital's.

Streamed, oldest first, each line whole. The export is itself an event, written before the first byte leaves.
"""

import csv
import json

from django.db import transaction
from django.db.models import Max

from clinic.audit.fhir import audit_event
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.errors import InvalidInput

COLUMNS = ("seq", "at", "actor_id", "actor", "action", "outcome", "object_type", "object_id", "patient_id", "case_id",
           "site_id", "purpose", "request", "address", "cause", "detail", "prev_hash", "hash")  # fmt: skip
OF_BODY = ("purpose", "request", "address", "cause", "detail")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet runs a cell that begins so
PATIENTS_NAMED = 1000


class _Echo:
    def write(self, line):
        return line


def neutral(cell):
    """A cell that no spreadsheet takes for a formula: an apostrophe before it, as OWASP advises."""
    text = str(cell)
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def as_csv(events):
    write = csv.writer(_Echo()).writerow
    yield write(COLUMNS)
    for event in events:
        said = json.loads(event.body)
        shown = {name: getattr(event, name) for name in COLUMNS if name not in OF_BODY}
        shown |= {name: said[name] for name in OF_BODY}
        shown |= {"at": said["at"], "detail": json.dumps(said["detail"], ensure_ascii=False) if said["detail"] else ""}
        yield write([neutral(shown[name]) for name in COLUMNS])


def as_ndjson(events):
    """Each event's text exactly as hashed, beside its hash: whoever has the file can verify it."""
    for event in events:
        yield f'{{"hash":"{event.hash}","event":{event.body}}}\n'


def as_fhir(events):
    for event in events:
        yield json.dumps(audit_event(event), ensure_ascii=False) + "\n"


FORMATS = {
    "csv": (as_csv, "text/csv; charset=utf-8", "csv"),
    "ndjson": (as_ndjson, "application/x-ndjson", "ndjson"),
    "fhir": (as_fhir, "application/fhir+ndjson", "fhir.ndjson"),
}


@transaction.atomic
def export(events, form, *, by, asked=None):
    """(chunks of text, media type, file name) of ``events`` up to now's newest. ``asked``: the filter, for the log."""
    if form not in FORMATS:
        known = ", ".join(FORMATS)
        raise InvalidInput("unknown_format", f"There is no export called {form!r}.", f"Use {known}.", place="as")
    write, media_type, suffix = FORMATS[form]
    last = events.aggregate(last=Max("seq"))["last"] or 0
    chosen = events.filter(seq__lte=last).order_by("seq")
    patients = chosen.exclude(patient_id="").order_by().values_list("patient_id", flat=True).distinct()
    said = {
        "format": form,
        "filter": asked or {},
        "to_seq": last,
        "count": chosen.count(),
        "patients": sorted(patients[:PATIENTS_NAMED]),
    }
    record(Action.AUDIT_EXPORT, by=by, detail=said)
    return write(chosen.iterator(chunk_size=500)), media_type, f"audit-to-{last}.{suffix}"
