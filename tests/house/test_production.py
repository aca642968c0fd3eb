"""Production does not start half-configured, and `check --deploy` has nothing to say."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WHOLE = {
    "DJANGO_SETTINGS_MODULE": "clinic.settings.production",
    "DJANGO_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "DJANGO_ALLOWED_HOSTS": "marrow.example",
    "DATABASE_URL": "postgres://marrow@db/marrow",
    "CELERY_BROKER_URL": "redis://redis:6379/0",
    "MARROW_FILE_KEYS": "0123456789abcdef:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "PATH": "",
}


def check(tmp_path, **changes):
    said = {**WHOLE, "MARROW_HOME": str(tmp_path), **changes}
    env = {name: value for name, value in said.items() if value is not None}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.requirement("M-17")
def test_a_whole_configuration_passes_the_deployment_check(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.requirement("M-17")
@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("DJANGO_SECRET_KEY", None, "DJANGO_SECRET_KEY"),
        ("DJANGO_SECRET_KEY", "short", "at least 50 characters"),
        ("DJANGO_ALLOWED_HOSTS", None, "DJANGO_ALLOWED_HOSTS"),
        ("DATABASE_URL", None, "PostgreSQL"),
        ("CELERY_BROKER_URL", None, "Redis"),
        ("MARROW_FILE_KEYS", None, "MARROW_FILE_KEYS"),
    ],
)
def test_a_missing_or_weak_setting_stops_it(tmp_path, name, value, complaint):
    done = check(tmp_path, **{name: value})
    assert done.returncode != 0
    assert complaint in done.stderr


def test_compose_names_the_four_services_and_gives_them_one_configuration():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert {"db", "redis", "web", "worker"} <= set(services)
    assert services["web"]["environment"] == services["worker"]["environment"]
    assert set(services["web"]["environment"]) >= WHOLE.keys() - {"PATH"}
