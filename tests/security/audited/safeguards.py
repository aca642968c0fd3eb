"""Emergency stop, access in an emergency, people: what each does has its event."""

from tests.security.audited.lines import acts, plain, shows

PEOPLE = plain("staff, no patients", by="admin_user")
LINES = {
    "safeguards:stop": [
        plain("models, no patients", by="admin_user"),
        acts("inference.halt", by="admin_user", body={"bundle": "labs", "reason": "x"}, format="multipart"),
    ],
    "safeguards:release": acts("inference.release", "halt", by="admin_user", body={"reason": "x"}, format="multipart"),
    "safeguards:emergency": [
        shows("glass.read", by="auditor"),
        plain("who oversees breaks no glass: refused", by="auditor", method="post", answer=403),
    ],
    "safeguards:review": acts(
        "glass.review", "emergency_access", by="auditor", body={"justified": "no"}, format="multipart"
    ),
    "portal:people": PEOPLE,
    "portal:new_person": PEOPLE,
    "portal:person": plain("staff, no patients", "clinician", by="admin_user"),
    "portal:change_person": acts(
        "session.end", "clinician", by="admin_user", body={"act": "sessions"}, format="multipart"
    ),
}
