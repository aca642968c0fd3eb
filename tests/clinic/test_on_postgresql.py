"""The tests of the audit chain and of the services once more, on PostgreSQL where one answers."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

SERVER = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
HERE = Path(__file__).parent
FILES = ("test_audit_chain.py", "test_audit_concurrency.py", "test_services.py", "test_reports.py")


@pytest.fixture(scope="module")
def scratch_url():
    """The URL of a database that does not exist; the tests' runner makes ``test_`` of it, and drops that."""
    try:
        with psycopg.connect(SERVER, connect_timeout=3) as connection:
            may_create = connection.execute("SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user").fetchone()
    except psycopg.Error as error:
        pytest.skip(f"no PostgreSQL answers at {SERVER.rpartition('@')[2]} ({type(error).__name__})")
    if not may_create or not may_create[0]:
        pytest.skip("the PostgreSQL user may not create databases")
    return f"{SERVER.rpartition('/')[0]}/marrow_{os.getpid()}"


@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="this run is on that database already")
def test_the_chain_and_the_services_hold_on_postgresql(scratch_url):
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            *(str(HERE / name) for name in FILES),
        ],
        cwd=HERE.parent.parent,
        env=os.environ | {"TEST_DATABASE_URL": scratch_url},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout
    assert "skipped" not in ran.stdout
