import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

SIGNED = Q(state="signed")
STATES = ["analysing", "failed", "checking", "assessed", "abstained", "signed", "open"]


INDEX = "CREATE INDEX case_accession_trigrams ON cases_case USING gin (upper(accession) gin_trgm_ops)"


def add_index(_apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(INDEX)


def drop_index(_apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX case_accession_trigrams")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial"), ("cases", "0003_fill_triage"), ("patients", "0002_search")]

    operations = [
        migrations.AlterField(
            "case",
            "site",
            models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="cases", to="accounts.site"),
        ),
        migrations.AddIndex("case", models.Index(fields=["site", "triage", "created_at", "id"], name="case_in_triage")),
        migrations.AddIndex("case", models.Index(fields=["site", "state", "created_at", "id"], name="case_in_state")),
        migrations.AddIndex("case", models.Index(fields=["site", "created_at", "id"], name="case_by_age")),
        migrations.AddConstraint(
            "case",
            models.UniqueConstraint(
                condition=~Q(accession=""), fields=("site", "accession"), name="accession_unique_per_site"
            ),
        ),
        migrations.AddConstraint("case", models.CheckConstraint(condition=Q(state__in=STATES), name="case_state_known")),
        migrations.AddConstraint(
            "case", models.CheckConstraint(condition=Q(triage__in=[0, 1, 2, 3]), name="case_triage_known")
        ),
        migrations.AddConstraint(
            "case",
            models.CheckConstraint(
                condition=Q(SIGNED & Q(triage=3)) | (~SIGNED & ~Q(triage=3)), name="signed_case_is_last_in_triage"
            ),
        ),
        migrations.AddConstraint(
            "case",
            models.CheckConstraint(condition=~Q(triage=0) | Q(urgent=True), name="urgent_triage_has_an_alert"),
        ),
        migrations.RunPython(add_index, drop_index),
    ]
