from django.core.files.uploadedfile import SimpleUploadedFile

from tests.factories import PASSWORD
from tests.security.audited.lines import acts, plain, shows

LINES = {
    "healthz": plain("up or not", method="any"),
    "api:token": [
        acts("token.create", body=lambda world: {"username": world["clinician"].username, "password": PASSWORD}),
        plain("needs the token itself; tests/clinic/test_api_accounts.py", method="delete", answer=401),
    ],
    "api:tokens": [
        plain("one's own tokens"),
        acts("token.create", body={"name": "Script", "scopes": ["case.view"], "days": 7}),
    ],
    "api:one_token": [
        plain("a token, without itself", "service_token", by="admin_user"),
        acts("token.revoke", "service_token", method="delete", by="admin_user"),
    ],
    "api:me": plain("the user's own name and roles"),
    "api:sites": plain("names of laboratories"),
    "api:patients": [
        shows("patient.search"),
        shows(
            "patient.create",
            method="post",
            body=lambda world: {"site": str(world["site"].pk), "mrn": "new-1", "name": "Quillfeather the second"},
        ),
    ],
    "api:patient": [
        shows("patient.read", "patient"),
        shows("patient.edit", "patient", method="patch", body={"sex": "other"}, headers={"If-Match": "*"}),
    ],
    "api:cases": [
        shows("case.search"),
        acts("case.create", body=lambda world: {"patient": str(world["patient"].pk), "title": "Second opinion"}),
    ],
    "api:case": [
        shows("case.read", "case"),
        shows("case.edit", "case", method="patch", body={"title": "Quillfeather again"}, headers={"If-Match": "*"}),
    ],
    "api:items": [
        shows("item.read", "case"),
        shows(
            "item.receive",
            "case",
            method="post",
            format="multipart",
            body=lambda _: {"file": SimpleUploadedFile("quillfeather.txt", b"Fever."), "kind": "history"},
        ),
    ],
    "api:item": shows("item.read", "item"),
    "api:item_content": shows("item.download", "item"),
    "api:analyses": [shows("analysis.read", "failed"), acts("analysis.request", "ready")],
    "api:analysis": shows("analysis.read", "failed_analysis"),
    "api:cancel": acts("analysis.cancel", "live"),
    "api:findings": shows("analysis.read", "analysis"),
    "api:assessment": shows("analysis.read", "analysis"),
    "api:artefact": shows("artefact.read", "artefact"),
    "api:reports": [shows("report.read", "case"), shows("report.draft", "unreported", method="post")],
    "api:report": shows("report.read", "report"),
    "api:sign": shows("report.sign", "report", method="post", body={"password": PASSWORD, "decision": "agree"}),
    "api:amend": shows("report.amend", "signed", method="post", body={"reason": "The karyotype has arrived."}),
    "api:events": acts("audit.read", method="get", by="auditor"),
    "api:events_export": acts("audit.export", method="get", by="auditor", query={"as": "csv"}),
    "api:people_who_saw": acts("audit.read", "patient", method="get", by="auditor"),
    "api:chain_state": acts("audit.read", method="get", by="auditor"),
    "api:bundles": plain("models are no patients"),
    "api:tree": plain("diagnoses, nobody's"),
    "api:schema": plain("the API's own description"),
    "api:docs": plain("the API's own description"),
}
