"""House rules that no linter knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRACKED_TEXT = {".py", ".md", ".toml", ".yml", ".html", ".css", ".js", ".json", ".lock", ".txt", ""}


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: tracked files cannot be listed")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_a_web_process_never_imports_torch():
    code = """
import sys, clinic.wsgi
from django.test import Client
for page in ("/healthz", "/login/", "/", "/api/v1/schema", "/api/v1/cases"):
    Client().get(page)
heavy = {"torch", "torchvision", "sklearn", "lightgbm", "pandas"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    env = {"DJANGO_SETTINGS_MODULE": "clinic.settings.testing", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_lock_has_hashes_and_no_index_addresses():
    lock = (ROOT / "requirements.lock").read_text()
    pins = [line for line in lock.splitlines() if line and line[0].isalnum()]
    assert pins
    assert all(line.endswith("\\") for line in pins), "a pin without a hash"
    assert "://" not in "".join(line for line in lock.splitlines() if not line.lstrip().startswith("#"))


def test_committed_files_stay_small():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert sum(size for size in sizes.values() if size > 1_000_000) < 80_000_000


def test_no_file_is_unpickled():
    names = (
        "pick" + r"le\.load",
        "job" + r"lib\.load",
        "weights_only=Fal" + "se",
        r"torch\.load\((?!.*weights_only=True)",
    )
    unsafe = re.compile("|".join(names))
    guilty = [p for p in tracked() if p.suffix == ".py" and unsafe.search(p.read_text())]
    assert guilty == []


@pytest.mark.parametrize("room", ["ml", "genomics"])
def test_models_run_without_django(room):
    code = f"import {room}, sys; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
