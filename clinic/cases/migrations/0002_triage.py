import django.db.models.deletion
from django.db import migrations, models


def states():
    return [
        ("analysing", "Analysing"),
        ("failed", "Analysis failed"),
        ("checking", "Files being checked"),
        ("assessed", "Assessed, not signed"),
        ("abstained", "No answer, not signed"),
        ("signed", "Signed"),
        ("open", "Not analysed"),
    ]


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial"), ("cases", "0001_initial")]

    operations = [
        migrations.AddField(
            "case",
            "accession",
            models.CharField(blank=True, default="", help_text="The laboratory's own number of the order", max_length=64),
            preserve_default=False,
        ),
        migrations.AddField(
            "case", "answer", models.CharField(blank=True, default="", editable=False, max_length=60), preserve_default=False
        ),
        migrations.AddField("case", "discordant", models.BooleanField(default=False, editable=False)),
        migrations.AddField("case", "probability", models.FloatField(blank=True, editable=False, null=True)),
        migrations.AddField("case", "urgent", models.BooleanField(default=False, editable=False)),
        migrations.AddField(
            "case", "state", models.CharField(choices=states(), default="open", editable=False, max_length=20)
        ),
        migrations.AddField(
            "case",
            "triage",
            models.PositiveSmallIntegerField(
                choices=[(0, "Urgent"), (1, "Discordant"), (2, "Waiting"), (3, "Signed")], default=2, editable=False
            ),
        ),
        migrations.AddField(
            "case",
            "site",
            models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="cases", to="accounts.site"
            ),
        ),
    ]
