from django.core.files.uploadedfile import SimpleUploadedFile

from tests.security.audited.lines import acts, shows


def table(world):
    file = SimpleUploadedFile("table.csv", b"mrn,name\nq-77,Test Quillfeather\n")
    return {"site": str(world["site"].pk), "kind": "cases", "file": file}


LINES = {
    "api:imports": [
        acts("import.read", method="get"),
        acts("import.request", format="multipart", body=table),
    ],
    "api:import": acts("import.read", "bulk_import", method="get"),
    "api:import_rows": shows("import.read", "bulk_import"),
    "api:import_report": acts("import.read", "bulk_import", method="get"),
}
