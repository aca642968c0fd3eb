"""A cache that all processes of one machine share, with nothing to install: one SQLite file that may be lost.

Counting is one statement, so that no two processes count the same. Values are JSON: nothing is unpickled. Where there
is Redis (production), Django's own backend takes its place.
"""

import json
import sqlite3
import threading
import time

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

TABLE = """
CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, ends REAL) WITHOUT ROWID
"""
PUT = """
INSERT INTO entries VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends = excluded.ends
"""
PUT_WHERE_GONE = PUT + "WHERE entries.ends IS NOT NULL AND entries.ends <= ?"
GET = "SELECT value FROM entries WHERE key = ? AND (ends IS NULL OR ends > ?)"
COUNT = """
UPDATE entries SET value = CAST(value AS INTEGER) + ? WHERE key = ? AND (ends IS NULL OR ends > ?) RETURNING value
"""
TOUCH = "UPDATE entries SET ends = ? WHERE key = ? AND (ends IS NULL OR ends > ?)"
CULL = "DELETE FROM entries WHERE ends IS NOT NULL AND ends <= ?"
CULL_EVERY = 1000


class JSONSerializer:
    """For Django's Redis backend, in place of pickle; numbers stay bare, so that Redis can count them."""

    def dumps(self, value):
        return json.dumps(value)

    def loads(self, data):
        return json.loads(data)


class Opened:
    """One thread's connection, closed with its thread. To lose power may lose counts: hence no waiting for the disk."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", TABLE):
            self.connection.execute(statement)

    def __del__(self):
        self.connection.close()


class SharedFileCache(BaseCache):
    def __init__(self, location, params):
        super().__init__(params)
        self.path, self.local, self.writes = str(location), threading.local(), 0

    def get(self, key, default=None, version=None):
        key = self.make_and_validate_key(key, version=version)
        row = self._run(GET, key, time.time()).fetchone()
        return json.loads(row[0]) if row else default

    def set(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        key = self.make_and_validate_key(key, version=version)
        self._run(PUT, key, json.dumps(value), self.get_backend_timeout(timeout))

    def add(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        key = self.make_and_validate_key(key, version=version)
        said = key, json.dumps(value), self.get_backend_timeout(timeout), time.time()
        return self._run(PUT_WHERE_GONE, *said).rowcount == 1

    def incr(self, key, delta=1, version=None):
        key = self.make_and_validate_key(key, version=version)
        row = self._run(COUNT, delta, key, time.time()).fetchone()
        if row is None:
            raise ValueError(f"Key {key!r} not found")
        return int(row[0])

    def touch(self, key, timeout=DEFAULT_TIMEOUT, version=None):
        key = self.make_and_validate_key(key, version=version)
        ends = self.get_backend_timeout(timeout)
        return self._run(TOUCH, ends, key, time.time()).rowcount == 1

    def delete(self, key, version=None):
        key = self.make_and_validate_key(key, version=version)
        return self._run("DELETE FROM entries WHERE key = ?", key).rowcount > 0

    def clear(self):
        self._run("DELETE FROM entries")

    def close(self, **_):
        """At the end of a request the connection stays: it is one thread's own, and cheap to keep."""

    def _run(self, statement, *values):
        if getattr(self.local, "opened", None) is None:
            self.local.opened = Opened(self.path)
        connection = self.local.opened.connection
        self.writes += 1
        if self.writes % CULL_EVERY == 0:
            connection.execute(CULL, (time.time(),))
        return connection.execute(statement, values)
