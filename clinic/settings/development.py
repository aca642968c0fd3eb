"""The embedded default of ``make run``: SQLite, a folder for the broker, this machine alone."""

import secrets

from clinic.settings.base import *  # noqa: F403 (settings are built by layering)
from clinic.settings.base import HOME, env

_key_file = HOME / "secret_key"
if not _key_file.exists():
    _key_file.touch(mode=0o600)
    _key_file.write_text(secrets.token_urlsafe(64))

DEBUG = env.bool("DJANGO_DEBUG", default=False)
SECRET_KEY = _key_file.read_text()
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
