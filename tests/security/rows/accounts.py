"""One's own account, and allauth's pages of it: whoever is signed in sees only their own."""

from tests.security.matrix import LOGIN, USERS, answers, everyone

TOKENS = False
OWN = everyone(200, nobody=LOGIN)
CONFIRM = everyone(302, nobody=LOGIN)  # first the password, or the second factor, again
NONE = everyone(404, nobody=LOGIN)  # they have no second factor yet

ROWS = {
    "GET portal:account": OWN,
    "POST portal:end_session": everyone(404, nobody=LOGIN),
    "POST portal:end_others": CONFIRM,
    "GET account_change_password": OWN,
    "POST account_change_password": everyone(400, nobody=LOGIN),
    "GET account_reauthenticate": OWN,
    "POST account_reauthenticate": OWN,
    "GET mfa_index": OWN,
    "GET mfa_authenticate": answers(*[LOGIN] * len(USERS)),
    "POST mfa_authenticate": answers(*[LOGIN] * len(USERS)),
    "GET mfa_reauthenticate": CONFIRM,
    "POST mfa_reauthenticate": CONFIRM,
    "GET mfa_activate_totp": CONFIRM,
    "POST mfa_activate_totp": CONFIRM,
    "GET mfa_deactivate_totp": NONE,
    "POST mfa_deactivate_totp": NONE,
    "GET mfa_view_recovery_codes": NONE,
    "GET mfa_generate_recovery_codes": CONFIRM,
    "POST mfa_generate_recovery_codes": CONFIRM,
    "GET mfa_download_recovery_codes": NONE,
    "GET mfa_list_webauthn": OWN,
    "GET mfa_add_webauthn": CONFIRM,
    "POST mfa_add_webauthn": CONFIRM,
    "GET mfa_reauthenticate_webauthn": CONFIRM,
    "POST mfa_reauthenticate_webauthn": CONFIRM,
    "GET mfa_remove_webauthn": CONFIRM,
    "POST mfa_remove_webauthn": CONFIRM,
    "GET mfa_edit_webauthn": CONFIRM,
    "POST mfa_edit_webauthn": CONFIRM,
    "GET socialaccount_login_cancelled": answers(*[200] * len(USERS)),
    "GET socialaccount_login_error": answers(*[401] * len(USERS)),
}
OBJECTS = {
    "portal:end_session": lambda w: w.foreign_session,
    "mfa_remove_webauthn": lambda w: 999_999,
    "mfa_edit_webauthn": lambda w: 999_999,
}
ELSEWHERE = {
    "account_login": "tests/clinic/accounts/test_login.py",
    "account_logout": "tests/clinic/accounts/test_login.py",
    "openid_connect_login": "tests/clinic/accounts/test_single_sign_on.py",
    "openid_connect_callback": "tests/clinic/accounts/test_single_sign_on.py",
}
