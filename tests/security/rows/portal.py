"""The portal: pages and forms of a browser, which take no token. A form is posted without its fields."""

from clinic.portal.models import SavedView
from tests.factories import NoticeFactory
from tests.security.matrix import LOGIN, answers, clinicians, everyone, overseers, staff

TOKENS = False
PAGE = staff(200, nobody=LOGIN, others=403)
LIST = staff(200, nobody=LOGIN, others=403, elsewhere=200)
FORM = staff(302, nobody=LOGIN, others=403)
SIGNED = clinicians(400, nobody=LOGIN, others=403)

ROWS = {
    "GET portal:home": answers(*[302] * 9),
    "GET portal:worklist": LIST,
    "GET portal:worklist_pulse": staff(204, nobody=LOGIN, others=403, elsewhere=204),
    "GET portal:help": everyone(200, nobody=LOGIN),
    "GET portal:patient": PAGE,
    "POST portal:save_view": staff(302, nobody=LOGIN, others=403, elsewhere=302),
    "POST portal:delete_view": answers(LOGIN, 404, 302, 404, 403, 403, 404, 403, 403),
    "GET portal:new_case": LIST,
    "POST portal:new_case": LIST,
    "GET portal:case": PAGE,
    "GET portal:case_pulse": staff(204, nobody=LOGIN, others=403),
    "GET portal:case_images": PAGE,
    "GET portal:case_expression": PAGE,
    "GET portal:case_labs": PAGE,
    "GET portal:case_history": PAGE,
    "GET portal:case_audit": PAGE,
    "GET portal:viewer": PAGE,
    "POST portal:review_cell": clinicians(302, nobody=LOGIN, others=403),
    "POST portal:comment": FORM,
    "GET portal:report_pdf": PAGE,
    "POST portal:second": SIGNED,
    "POST portal:upload": staff(400, nobody=LOGIN, others=403),
    "POST portal:analyse": FORM,
    "POST portal:draft": FORM,
    "POST portal:cancel": FORM,
    "GET portal:report": PAGE,
    "POST portal:sign": SIGNED,
    "POST portal:amend": SIGNED,
    "GET portal:item_file": PAGE,
    "GET portal:item_frame": PAGE,
    "GET portal:artefact": PAGE,
    "GET notices:notices": LIST,
    "GET notices:pulse": LIST,
    "GET notices:open": answers(LOGIN, 404, 302, 404, 403, 403, 404, 403, 403),
    "POST notices:read_all": staff(302, nobody=LOGIN, others=403, elsewhere=302),
    "POST notices:preference": staff(302, nobody=LOGIN, others=403, elsewhere=302),
    "GET portal:audit": overseers(200, nobody=LOGIN),
    "GET portal:audit_export": overseers(200, nobody=LOGIN),
    "GET portal:audit_case": overseers(200, nobody=LOGIN, elsewhere=404),
    "GET portal:audit_patient": overseers(200, nobody=LOGIN, elsewhere=404),
    "GET portal:models": everyone(200, nobody=LOGIN),
    "POST portal:theme": everyone(302, nobody=LOGIN),
    "GET /healthz": answers(*[200] * 9),
}
OBJECTS = {
    "portal:patient": lambda w: w.patient,
    "notices:open": lambda w: NoticeFactory(case=w.case, recipient=w.clinician),
    "portal:delete_view": lambda w: SavedView.objects.create(user=w.clinician, name="Mine"),
    "portal:audit_case": lambda w: w.case,
    "portal:audit_patient": lambda w: w.patient,
    "portal:case": lambda w: w.case,
    "portal:case_pulse": lambda w: w.case,
    **{f"portal:case_{tab}": lambda w: w.case for tab in ("images", "expression", "labs", "history", "audit")},
    "portal:viewer": lambda w: (w.image, 0),
    "portal:review_cell": lambda w: w.analysis.findings.get(modality="smear_cell"),
    "portal:comment": lambda w: w.case,
    "portal:report_pdf": lambda w: w.draft,
    "portal:second": lambda w: w.signed,
    "portal:upload": lambda w: w.ready_case,
    "portal:analyse": lambda w: w.ready_case,
    "portal:draft": lambda w: w.case,
    "portal:cancel": lambda w: w.live_analysis,
    "portal:report": lambda w: w.draft,
    "portal:sign": lambda w: w.draft,
    "portal:amend": lambda w: w.draft,
    "portal:item_file": lambda w: w.image,
    "portal:item_frame": lambda w: (w.image, 0),
    "portal:artefact": lambda w: w.artefact,
}
ELSEWHERE = {
    "portal:login": "tests/clinic/accounts/test_login.py",
    "portal:logout": "tests/clinic/accounts/test_login.py",
}
