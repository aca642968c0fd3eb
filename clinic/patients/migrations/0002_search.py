import django.db.models.functions.text
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models

INDEX = "CREATE INDEX patient_search_trigrams ON patients_patient USING gin (search gin_trgm_ops)"


def add_index(_apps, schema_editor):
    """SQLite has no such index: its searches read the site's patients, which are as many as one machine serves."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(INDEX)


def drop_index(_apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX patient_search_trigrams")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial"), ("patients", "0001_initial")]

    operations = [
        TrigramExtension(),
        migrations.AddField(
            model_name="patient",
            name="search",
            field=models.GeneratedField(
                db_persist=True,
                expression=django.db.models.functions.text.Lower(
                    django.db.models.functions.text.Concat(models.Value(" "), "name", models.Value(" "), "mrn")
                ),
                help_text="What is searched: each word after a space, so that a short one can be looked for by its beginning",
                output_field=models.CharField(max_length=270),
            ),
        ),
        migrations.AddIndex(
            model_name="patient", index=models.Index(fields=["name", "id"], name="patient_by_name")
        ),
        migrations.RunPython(add_index, drop_index),
    ]
