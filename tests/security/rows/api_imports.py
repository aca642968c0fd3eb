"""Bulk import."""

from django.core.files.uploadedfile import SimpleUploadedFile

from tests.security.matrix import staff

ROWS = {
    "GET api:imports": staff(200, others=403, elsewhere=200),
    "POST api:imports": staff(202),
    "GET api:import": staff(200),
    "GET api:import_rows": staff(200, others=403),
    "GET api:import_report": staff(200),
}
OBJECTS = {name: lambda w: w.bulk_import for name in ("api:import", "api:import_rows", "api:import_report")}
BODIES = {
    "POST api:imports": lambda w: {
        "site": str(w.site.pk),
        "kind": "cases",
        "file": SimpleUploadedFile("cases.csv", b"mrn,name\n1,New Person\n"),
    }
}
