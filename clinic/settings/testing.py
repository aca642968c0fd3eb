"""For the test suite: a folder of its own for every process, quick password hashes, tasks run where they are sent."""

import os
import tempfile
from pathlib import Path

_home = tempfile.mkdtemp(prefix="marrow-test-")
os.environ["MARROW_HOME"] = _home

from clinic.settings.base import *  # noqa: E402, F403 (the folder must be named before the base is read)
from clinic.settings.base import database, env  # noqa: E402

SECRET_KEY = "only-for-tests"  # noqa: S105
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
DATABASES = {"default": database(env("TEST_DATABASE_URL", default=f"sqlite:///{Path(_home) / 'test.sqlite3'}"))}
if "sqlite" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["TEST"] = {"NAME": str(Path(_home) / "test-run.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
TASKS_INLINE = True
WHITENOISE_AUTOREFRESH = True
