"""Signing in and one's own account: no patient. What changes an account has its event."""

from tests.factories import PASSWORD
from tests.security.audited.lines import acts, plain

OWN = plain("the account of who asks")
LINES = {
    "account_login": plain("a form; what it does: portal:login"),
    "account_logout": acts("logout"),
    "account_change_password": [
        OWN,
        acts("password.change", body={"old": PASSWORD, "new": "another-long-passphrase"}, format="multipart"),
    ],
    "account_reauthenticate": OWN,
    "portal:account": OWN,
    "portal:end_session": acts("session.end", "own_session"),
    "portal:end_others": acts("session.end"),
    "mfa_*": plain("second factors; their changes: tests/clinic/accounts"),
    "socialaccount_*": plain("what a single sign-on says when it fails"),
    "openid_connect_*": plain("the way to the directory and back: tests/clinic/accounts"),
}
