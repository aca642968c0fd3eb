"""Who comes in, by which way, and for how long."""

import environ

env = environ.Env()

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "portal:login"
LOGIN_REDIRECT_URL = "portal:home"
LOGOUT_REDIRECT_URL = "portal:login"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_IDLE_SECONDS = 15 * 60
SECOND_FACTOR_ROLES = env.list("MARROW_SECOND_FACTOR_ROLES", default=[])  # who must have one; production: who signs
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"

# allauth: accounts are made by an administrator; tries are counted by clinic.accounts.lockout, not in a cache
ACCOUNT_ADAPTER = "clinic.accounts.adapters.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_RATE_LIMITS = False
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
MFA_ADAPTER = "clinic.accounts.adapters.MfaAdapter"
MFA_FORMS = {
    "authenticate": "clinic.accounts.forms.AuthenticateForm",
    "reauthenticate": "clinic.accounts.forms.ReauthenticateForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_TOLERANCE = 1
MFA_ALLOW_UNVERIFIED_EMAIL = True
USERSESSIONS_TRACK_ACTIVITY = False  # clinic.accounts.sessions notes it, less often

# Single sign-on with the hospital's directory (OpenID Connect), where the environment names one
OIDC_USERNAME_CLAIM = env("MARROW_OIDC_USERNAME_CLAIM", default="preferred_username")
OIDC_SERVER = env("MARROW_OIDC_SERVER", default="")
SOCIALACCOUNT_ADAPTER = "clinic.accounts.adapters.SocialAdapter"
SOCIALACCOUNT_LOGIN_ON_GET = True  # a form that ends at a foreign address is what form-action forbids; state guards it
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "directory",
                "name": env("MARROW_OIDC_NAME", default="your hospital account"),
                "client_id": env("MARROW_OIDC_CLIENT_ID", default=""),
                "secret": env("MARROW_OIDC_SECRET", default=""),
                "settings": {"server_url": OIDC_SERVER},
            }
        ]
        if OIDC_SERVER
        else [],
    }
}
