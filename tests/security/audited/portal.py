from django.core.files.uploadedfile import SimpleUploadedFile

from tests.factories import PASSWORD
from tests.security.audited.lines import acts, plain, shows

AGAIN = {"title": "Again", "stage": "diagnosis"}
LINES = {
    "portal:home": plain("only leads on"),
    "portal:login": [
        plain("an empty form"),
        acts(
            "login",
            format="multipart",
            body=lambda world: {"username": world["clinician"].username, "password": PASSWORD},
            by="nobody",
        ),
    ],
    "portal:logout": acts("logout"),
    "portal:worklist": shows("case.search"),
    "portal:worklist_pulse": plain("whether the list has changed, no more"),
    "portal:help": plain("words and models are no patients"),
    "portal:patient": shows("patient.read", "patient"),
    "portal:save_view": plain("a person's own filter", method="post"),
    "portal:delete_view": plain("a person's own filter", "saved_view", method="post", answer=302),
    "portal:theme": plain("light or dark: a cookie", method="post"),
    "portal:new_case": [
        shows("patient.search", query={"q": "quill"}),
        acts("case.create", query=lambda w: {"patient": w["patient"].pk}, body=AGAIN, format="multipart"),
    ],
    "portal:case": shows("case.read", "case"),
    "portal:case_pulse": plain("how far the work is; names nobody", "case"),
    "portal:case_images": shows("case.read", "case"),
    "portal:case_expression": shows("case.read", "case"),
    "portal:case_labs": shows("case.read", "case"),
    "portal:case_history": shows("case.read", "case"),
    "portal:case_audit": shows("case.read", "case"),
    "portal:viewer": shows("item.read", "image", 0),
    "portal:review_cell": acts(
        "cell.review", "cell_finding", format="multipart", body=lambda w: {"cell": f"{w['image'].pk}/0:1", "label": ""}
    ),
    "portal:comment": acts("comment.write", "case", format="multipart", body={"text": "Look again."}),
    "portal:report_pdf": shows("report.download", "report"),
    "portal:second": acts(
        "report.second", "signed_by_another", format="multipart", body={"password": PASSWORD, "agrees": "yes"}
    ),
    "portal:upload": acts(
        "item.receive",
        "case",
        format="multipart",
        body=lambda _: {"file": SimpleUploadedFile("note.txt", b"Fever."), "kind": "history"},
    ),
    "portal:analyse": acts("analysis.request", "ready"),
    "portal:draft": acts("report.draft", "unreported"),
    "portal:cancel": acts("analysis.cancel", "live"),
    "portal:report": shows("report.read", "report"),
    "portal:sign": acts("report.sign", "report", format="multipart", body={"password": PASSWORD, "decision": "agree"}),
    "portal:amend": acts("report.amend", "signed", format="multipart", body={"reason": "The karyotype has arrived."}),
    "portal:item_file": shows("item.download", "item"),
    "portal:item_frame": shows("item.read", "image", 0),
    "portal:artefact": shows("artefact.read", "artefact"),
    "portal:audit": shows("audit.read", by="auditor"),
    "portal:audit_export": acts("audit.export", method="get", by="auditor"),
    "portal:audit_case": shows("audit.read", "case", by="auditor"),
    "portal:audit_patient": shows("audit.read", "patient", by="auditor"),
    "notices:notices": shows("notice.read"),
    "notices:pulse": plain("numbers alone"),
    "notices:open": plain("leads on to the case", "notice"),
    "notices:read_all": plain("one's own marks", method="post"),
    "notices:preference": plain("one's own wishes", method="post"),
    "portal:models": plain("models are no patients"),
}
