"""docs/settings.md names every variable that the settings read, and none that they do not."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = {"MARROW_HL7_SITE", "MARROW_HL7_USER", "MARROW_HL7_BIND", "DJANGO_SETTINGS_MODULE"}


def test_the_table_of_settings_is_whole():
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "clinic" / "settings").glob("*.py"))
    read = set(re.findall(r"env(?:\.\w+)?\(\s*\"([A-Z_0-9]+)\"", sources)) - {"TEST_DATABASE_URL", "TZ"}
    told = set(
        re.findall(
            r"`((?:MARROW|DJANGO|CELERY|DATABASE|EMAIL)_[A-Z_0-9]+)", (ROOT / "docs" / "settings.md").read_text("utf-8")
        )
    )
    assert read - told == set()
    assert told - read - COMPOSE == set()
