"""Rows that are never changed or removed once written: the database itself refuses.

Installed after every ``migrate`` and not by one migration, because SQLite loses a table's triggers whenever a later
migration rebuilds that table.
"""

TABLES = (
    "audit_auditevent",
    "audit_anchor",
    "cases_finding",
    "cases_assessment",
    "cases_report",
    "cases_signoff",
    "review_comment",
    "review_cellreview",
    "review_secondreading",
)

SQLITE = """
CREATE TRIGGER IF NOT EXISTS {table}_no_{act} BEFORE {act} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""
POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION marrow_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$
"""
POSTGRES = """
CREATE OR REPLACE TRIGGER {table}_no_{act} BEFORE {act} ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION marrow_append_only()
"""
ACTS = {"sqlite": ("UPDATE", "DELETE"), "postgresql": ("UPDATE", "DELETE", "TRUNCATE")}


def install(connection):
    """Put the triggers on whichever of the tables exist; harmless where they are there already."""
    template = {"sqlite": SQLITE, "postgresql": POSTGRES}[connection.vendor]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(POSTGRES_FUNCTION)
        for table, act in _present(connection, cursor):
            cursor.execute(template.format(table=table, act=act))


def remove(connection):
    """Take the triggers off. Only tests do this: to tamper, and to empty the tables afterwards."""
    on_table = " ON {table}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        for table, act in _present(connection, cursor):
            cursor.execute(("DROP TRIGGER IF EXISTS {table}_no_{act}" + on_table).format(table=table, act=act))


def install_after_migrate(*, using, **_):
    from django.db import connections  # noqa: PLC0415 (imported while apps still load)

    install(connections[using])


def _present(connection, cursor):
    there = set(connection.introspection.table_names(cursor))
    return [(table, act) for table in TABLES if table in there for act in ACTS[connection.vendor]]
