"""Production: PostgreSQL, Redis, TLS in front. Refuses to start on a missing or weak secret."""

from django.core.exceptions import ImproperlyConfigured

from clinic.settings.base import *  # noqa: F403 (settings are built by layering)
from clinic.settings.base import BROKER_URL, DATABASES, FILE_KEYS, env

SECRET_KEY = env("DJANGO_SECRET_KEY")
if len(SECRET_KEY) < 50 or "only-for-tests" in SECRET_KEY or SECRET_KEY.startswith("django-insecure"):
    raise ImproperlyConfigured("DJANGO_SECRET_KEY must be a random string of at least 50 characters.")
if not FILE_KEYS:
    problem = "Production needs MARROW_FILE_KEYS: the keys of the files, which must not lie beside them."
    raise ImproperlyConfigured(f"{problem} Make one with: manage.py new_file_key (under the development settings)")
if "sqlite" in DATABASES["default"]["ENGINE"]:
    raise ImproperlyConfigured("Production needs DATABASE_URL to name a PostgreSQL database.")
if BROKER_URL.startswith("filesystem"):
    raise ImproperlyConfigured("Production needs CELERY_BROKER_URL to name a Redis server.")

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": env("MARROW_CACHE_URL", default=BROKER_URL),
        "KEY_PREFIX": "marrow",
        "OPTIONS": {"serializer": "clinic.shared_cache.JSONSerializer"},
    }
}
DEBUG = False
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])
SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("MARROW_BEHIND_PROXY", default=False) else None
)
SESSION_COOKIE_SECURE = True
SECOND_FACTOR_ROLES = env.list("MARROW_SECOND_FACTOR_ROLES", default=["admin", "clinician"])
CSRF_COOKIE_SECURE = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
