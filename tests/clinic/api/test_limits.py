"""Limits that all processes count together, and the cache they count in."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.urls import reverse

from clinic.shared_cache import JSONSerializer, SharedFileCache

COUNTER = """
import sys
from clinic.shared_cache import SharedFileCache
cache = SharedFileCache(sys.argv[1], {})
cache.add("n", 0, timeout=60)
for _ in range(200): cache.incr("n")
"""


@pytest.fixture
def cache(tmp_path):
    return SharedFileCache(tmp_path / "cache.sqlite3", {})


@pytest.mark.django_db
def test_who_asks_too_often_is_told_when_to_come_back(api, clinician, technician, settings):
    settings.API_RATE = "3/hour"
    answers = [api(clinician).get(reverse("api:tree")) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3600
    assert answers[-1].json()["code"] == "throttled"
    assert api(technician).get(reverse("api:tree")).status_code == 200


def test_processes_count_together(tmp_path):
    command = [sys.executable, "-c", COUNTER, str(tmp_path / "shared.sqlite3")]
    with ThreadPoolExecutor(3) as pool:
        for done in pool.map(lambda _: subprocess.run(command, check=False, capture_output=True), range(3)):
            assert done.returncode == 0, done.stderr
    assert SharedFileCache(tmp_path / "shared.sqlite3", {}).get("n") == 600


def test_the_cache_keeps_forgets_and_counts(cache):
    cache.set("a", {"x": [1, 2]})
    assert cache.get("a") == {"x": [1, 2]}
    assert not cache.add("a", 1)
    cache.set("gone", 1, timeout=-1)
    assert cache.get("gone", "none") == "none"
    assert cache.add("gone", 2)
    assert cache.get("gone") == 2
    assert cache.incr("gone", 5) == 7
    with pytest.raises(ValueError):
        cache.incr("never")
    assert cache.touch("a", 100)
    assert not cache.touch("never")
    assert cache.delete("a")
    assert not cache.delete("a")
    cache.clear()
    assert cache.get("gone") is None


def test_nothing_but_json_goes_to_redis():
    assert JSONSerializer().loads(JSONSerializer().dumps([1, "a"]).encode()) == [1, "a"]
    with pytest.raises(TypeError):
        JSONSerializer().dumps(object())
