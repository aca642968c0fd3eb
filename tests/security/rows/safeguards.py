"""Emergency stop, access in an emergency, and the people of a site."""

from tests.security.matrix import LOGIN, admins, answers, overseers

TOKENS = False


ROWS = {
    "GET safeguards:stop": admins(200, nobody=LOGIN),
    "POST safeguards:stop": admins(302, nobody=LOGIN),
    "POST safeguards:release": admins(302, nobody=LOGIN),
    "GET safeguards:emergency": answers(LOGIN, 403, 200, 403, 200, 200, 200, 200, 403),
    "POST safeguards:emergency": answers(LOGIN, 403, 400, 403, 403, 403, 302, 403, 403),
    "POST safeguards:review": overseers(302, nobody=LOGIN, elsewhere=404),
    "GET portal:people": admins(200, nobody=LOGIN),
    "GET portal:new_person": admins(200, nobody=LOGIN),
    "POST portal:new_person": admins(302, nobody=LOGIN, elsewhere=400),
    "GET portal:person": admins(200, nobody=LOGIN, elsewhere=404),
    "POST portal:change_person": admins(302, nobody=LOGIN, elsewhere=404),
}
OBJECTS = {
    "safeguards:release": lambda w: w.halt,
    "safeguards:review": lambda w: w.emergency_access,
    "portal:person": lambda w: w.clinician,
    "portal:change_person": lambda w: w.clinician,
}
BODIES = {
    "POST safeguards:stop": lambda w: {"bundle": "", "reason": "Wrong results at another site."},
    "POST safeguards:release": lambda w: {"reason": "Understood and put right."},
    "POST safeguards:emergency": lambda w: {
        "site": str(w.site.pk),
        "mrn": w.patient.mrn,
        "birth_date": str(w.patient.birth_date),
        "reason": "Unconscious in our emergency room.",
    },
    "POST safeguards:review": lambda w: {"justified": "yes"},
    "POST portal:new_person": lambda w: {
        "site": str(w.site.pk),
        "role": "technician",
        "username": "newcomer",
        "password": "a-long-first-passphrase",
    },
    "POST portal:change_person": lambda w: {"act": "sessions"},
}
