"""The REST API."""

from django.core.files.uploadedfile import SimpleUploadedFile

from tests.factories import PASSWORD
from tests.security.matrix import answers, clinicians, everyone, overseers, staff

READ, MADE, LIST = staff(200), staff(201), staff(200, others=403)

ROWS = {
    "GET api:me": everyone(200),
    "GET api:tokens": everyone(200),
    "POST api:tokens": everyone(201),
    "GET api:one_token": answers(401, 404, 404, 404, 404, 200, 404, 404, 404),
    "DELETE api:one_token": answers(401, 404, 404, 404, 404, 204, 404, 404, 404),
    "GET api:sites": everyone(200),
    "GET api:patients": staff(200, others=403, elsewhere=200),
    "POST api:patients": MADE,
    "GET api:patient": READ,
    "PATCH api:patient": staff(428),
    "PATCH api:case": staff(428),
    "GET api:cases": staff(200, others=403, elsewhere=200),
    "POST api:cases": MADE,
    "GET api:case": READ,
    "GET api:items": LIST,
    "POST api:items": MADE,
    "GET api:item": READ,
    "GET api:item_content": READ,
    "GET api:analyses": LIST,
    "POST api:analyses": MADE,
    "GET api:analysis": READ,
    "POST api:cancel": READ,
    "GET api:findings": READ,
    "GET api:assessment": READ,
    "GET api:artefact": READ,
    "GET api:reports": LIST,
    "POST api:reports": MADE,
    "GET api:report": READ,
    "POST api:sign": clinicians(201),
    "POST api:amend": clinicians(201),
    "GET api:events": overseers(200),
    "GET api:events_export": overseers(200),
    "GET api:people_who_saw": overseers(200, elsewhere=404),
    "GET api:chain_state": overseers(200),
    "GET api:bundles": everyone(200),
    "GET api:tree": everyone(200),
    "GET api:schema": answers(*[200] * 9),
    "GET api:docs": answers(*[200] * 9),
}
OBJECTS = {
    "api:people_who_saw": lambda w: w.patient,
    "api:one_token": lambda w: w.service_token,
    "api:patient": lambda w: w.patient,
    "api:case": lambda w: w.case,
    "api:items": lambda w: w.ready_case,
    "api:item": lambda w: w.item,
    "api:item_content": lambda w: w.item,
    "api:analyses": lambda w: w.ready_case,
    "api:analysis": lambda w: w.analysis,
    "api:cancel": lambda w: w.live_analysis,
    "api:findings": lambda w: w.analysis,
    "api:assessment": lambda w: w.analysis,
    "api:artefact": lambda w: w.artefact,
    "api:reports": lambda w: w.case,
    "api:report": lambda w: w.draft,
    "api:sign": lambda w: w.draft,
    "api:amend": lambda w: w.signed,
}
BODIES = {
    "POST api:tokens": lambda w: {"name": "Script", "scopes": ["case.view"], "days": 7},
    "POST api:patients": lambda w: {"site": str(w.site.pk), "mrn": "new-1", "name": "New Person"},
    "POST api:cases": lambda w: {"patient": str(w.patient.pk), "title": "Second opinion"},
    "POST api:items": lambda w: {"file": SimpleUploadedFile("note.txt", b"Fever for weeks."), "kind": "history"},
    "POST api:sign": lambda w: {"password": PASSWORD, "decision": "agree"},
    "POST api:amend": lambda w: {"reason": "The karyotype has arrived."},
}
ELSEWHERE = {"api:token": "tests/clinic/test_api_accounts.py"}
