"""What every run mode shares. The environment is read here and in the three files beside this one, nowhere else."""

import json
from pathlib import Path

import environ

from clinic.settings.accounts import *  # noqa: F403 (settings are built by layering)

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent.parent
HOME = Path(env("MARROW_HOME", default=str(BASE_DIR / "var")))  # database, files, broker and logs of the embedded mode
HOME.mkdir(parents=True, exist_ok=True, mode=0o700)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "clinic.accounts",
    "clinic.patients",
    "clinic.registry",
    "clinic.cases",
    "clinic.notices",
    "clinic.uploads",
    "clinic.review",
    "clinic.safeguards",
    "clinic.audit",
    "clinic.interop.results",
    "clinic.interop.hl7",
    "clinic.interop.cds_hooks",
    "clinic.interop.webhooks",
    "clinic.interop.dicomweb",
    "clinic.monitoring",
    "clinic.api",
    "clinic.tokens",
    "clinic.imports",
    "clinic.portal",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "workers",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "clinic.portal.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "clinic.audit.context.request_context",
    "clinic.accounts.sessions.session_limits",
    "clinic.accounts.policy.SecondFactorWanted",
    "clinic.api.idempotency.idempotency",
]

ROOT_URLCONF = "clinic.urls"
WSGI_APPLICATION = "clinic.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def database(url: str) -> dict:
    """A database from its URL. SQLite runs in WAL with immediate transactions: writers queue and never clash."""
    said = environ.Env.db_url_config(url) | {"CONN_MAX_AGE": 60}  # to open one takes as long as to ask for a case
    if said["ENGINE"].endswith("sqlite3"):
        pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
        said["OPTIONS"] = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": pragmas}
    else:
        said["CONN_HEALTH_CHECKS"] = True
        if said["ENGINE"].endswith("postgresql"):  # a page's queries are short: helpers and compilers begin too late
            said.setdefault("OPTIONS", {})["options"] = "-c jit=off -c max_parallel_workers_per_gather=0"
    return said


DATABASES = {"default": database(env("DATABASE_URL", default=f"sqlite:///{HOME / 'marrow.sqlite3'}"))}
CACHES = {"default": {"BACKEND": "clinic.shared_cache.SharedFileCache", "LOCATION": HOME / "cache.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Files. Private: nothing under FILES_ROOT is ever served by a static route.
LABS_SITES = Path(env("MARROW_LABS_SITES", default=str(HOME / "labs-sites")))  # recalibrations of labs by site code
FILES_ROOT = Path(env("MARROW_FILES", default=str(HOME / "files")))
FILE_KEYS = env.list("MARROW_FILE_KEYS", default=[])  # id:base64; the first seals, every one opens
FILE_KEYS_FILE = Path(env("MARROW_FILE_KEYS_FILE", default=str(HOME / "file_keys")))
FILE_UPLOAD_PERMISSIONS = 0o600
UPLOAD_MAX_BYTES = env.int("MARROW_UPLOAD_MAX_BYTES", default=512 * 1024 * 1024)
UPLOAD_CHUNK_BYTES = env.int("MARROW_UPLOAD_CHUNK_BYTES", default=4 * 1024 * 1024)
UPLOAD_WAIT_SECONDS = env.int("MARROW_UPLOAD_WAIT_SECONDS", default=24 * 3600)  # of an unfinished upload
DATA_UPLOAD_MAX_NUMBER_FILES = 500
BUNDLE_ROOTS = [Path(p) for p in env.list("MARROW_BUNDLES", default=[str(BASE_DIR / "ml" / "bundles")])]
AUDIT_KEY_FILE = Path(env("MARROW_AUDIT_KEY_FILE", default=str(HOME / "audit_ed25519.pem")))
AUDIT_ANCHORS = Path(env("MARROW_AUDIT_ANCHORS", default=str(HOME / "anchors")))

AUDIT_ANCHOR_TARGETS = env.list("MARROW_AUDIT_ANCHOR_TARGETS", default=[])  # folders, or addresses that take a PUT
AUDIT_TRUSTED_KEYS = env.list("MARROW_AUDIT_TRUSTED_KEYS", default=[])  # ids; empty: every key beside the anchors

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = env("TZ", default="UTC")
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = Path(env("MARROW_STATIC", default=str(HOME / "static")))
STATIC_ROOT.mkdir(parents=True, exist_ok=True)

# API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "clinic.tokens.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "clinic.api.schema.ProblemSchema",
    "DEFAULT_FILTER_BACKENDS": ["clinic.api.filters.StrictFilters"],
    "DEFAULT_PAGINATION_CLASS": "clinic.api.pagination.KeysetPagination",
    "DEFAULT_THROTTLE_CLASSES": ["clinic.api.throttles.RequestsOfUser"],
    "EXCEPTION_HANDLER": "clinic.api.problems.handle",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
API_RATE = env("MARROW_API_RATE", default="6000/min")  # of one user, over all processes
LOGIN_TOKEN_DAYS = env.int("MARROW_LOGIN_TOKEN_DAYS", default=1)
SPECTACULAR_SETTINGS = {
    "TITLE": "Marrow API",
    "DESCRIPTION": "Decision support for leukaemia work-ups. Every result is for a clinician to review and sign.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "ENUM_NAME_OVERRIDES": {
        "ItemKindEnum": "clinic.cases.models.ItemKind",
        "TokenKindEnum": "clinic.tokens.models.TokenKind",
        "NewTokenKindEnum": ["personal", "service"],
        "ImportKindEnum": "clinic.imports.models.ImportKind",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# Notices by e-mail, where there is a server: EMAIL_URL=smtp+tls://user:password@host:587
NOTICES_BY_MAIL = bool(env("EMAIL_URL", default=""))
vars().update(env.email("EMAIL_URL", default="dummymail://"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env("MARROW_MAIL_FROM", default="marrow@localhost")
PUBLIC_URL = env("MARROW_PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
# Other systems. CDS clients: a JSON file, issuer → {"user": as whom it reads, "keys": its JWKs, "algorithms": [...]}.
_cds_file = env("MARROW_CDS_CLIENTS", default="")
CDS_CLIENTS = json.loads(Path(_cds_file).read_text("utf-8")) if _cds_file else {}
WEBHOOK_ALLOWED_TARGETS = set(env.list("MARROW_WEBHOOK_TARGETS", default=[]))  # host:port inside of the house
CDS_ORIGINS = env.list("MARROW_CDS_ORIGINS", default=[])

# Work. The Analysis row is the truth, whatever the broker loses: see docs/decisions.
BROKER_URL = env("CELERY_BROKER_URL", default="filesystem://")
TASKS_INLINE = False  # run a task in the process that sends it: tests only
BROKER_FOLDER = HOME / "broker"
LEASE_SECONDS = env.int("MARROW_LEASE_SECONDS", default=20)
SWEEP_SECONDS = env.int("MARROW_SWEEP_SECONDS", default=5)
MAX_ATTEMPTS = 3
ANCHOR_SECONDS = env.int("MARROW_ANCHOR_SECONDS", default=3600)
READER_MEMORY_BYTES = env.int("MARROW_READER_MEMORY_BYTES", default=3 * 1024**3)
READER_SECONDS = env.int("MARROW_READER_SECONDS", default=60)
WORKER_THREADS = env.int("MARROW_WORKER_THREADS", default=2)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"tasks": {"()": "clinic.logs.WithoutTaskErrors"}},
    "formatters": {
        "line": {"()": "clinic.logs.WithoutValues", "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["tasks"]}},
    "loggers": {
        "httpx": {"level": "WARNING"},  # it says every request, also those of the demo's waiting
        "fontTools": {"level": "WARNING"},  # it says every letter of a report
    },
    "root": {"handlers": ["console"], "level": env("MARROW_LOG_LEVEL", default="INFO")},
}
