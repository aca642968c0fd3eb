"""The portal's pages about other systems."""

from tests.clinic.interop.conftest import delivery, held
from tests.security.matrix import LOGIN, admins, staff

TOKENS = False
ROWS = {
    "GET exchange:held_results": staff(200, nobody=LOGIN, others=403, elsewhere=200),
    "GET exchange:held_result": staff(200, nobody=LOGIN, others=403, elsewhere=404),
    "POST exchange:held_result": staff(302, nobody=LOGIN, others=403, elsewhere=404),
    "GET exchange:webhooks": admins(200, nobody=LOGIN),
    "POST exchange:webhooks": admins(400, nobody=LOGIN),  # 400: no public address
    "POST exchange:switch": admins(302, nobody=LOGIN, elsewhere=404),
    "POST exchange:replay": admins(302, nobody=LOGIN, elsewhere=404),
}
OBJECTS = {
    "exchange:held_result": lambda w: held(w.site),
    "exchange:switch": lambda w: delivery(w.site).webhook,
    "exchange:replay": lambda w: delivery(w.site),
}
BODIES = {
    "POST exchange:held_result": lambda w: {"act": "take", "loinc": "6690-2", "mrn": w.patient.mrn},
    "POST exchange:webhooks": lambda w: {
        "site": w.site.code,
        "url": "https://192.0.2.1/",
        "events": ["report.signed"],
    },
    "POST exchange:switch": lambda w: {"active": "no"},
}
