from django.db import migrations
from django.db.models import Case as Choice
from django.db.models import CharField, Exists, F, IntegerField, OuterRef, Q, Subquery, Value, When

COPIED = ("answer", "probability", "urgent", "discordant")


def fill(apps, _schema_editor):
    """The copies of every case there is, as clinic.cases.triage keeps them from now on."""
    Case, Assessment = apps.get_model("cases", "Case"), apps.get_model("cases", "Assessment")
    Patient = apps.get_model("patients", "Patient")
    newest = Assessment.objects.filter(analysis__case=OuterRef("pk")).order_by("-pk")
    Case.objects.update(site=Subquery(Patient.objects.filter(pk=OuterRef("patient_id")).values("site")[:1]))
    said = Case.objects.filter(Exists(newest))
    said.update(**{name: Subquery(newest.values(name)[:1]) for name in COPIED})
    cases = with_facts(apps)
    Case.objects.update(
        state=Subquery(cases.values("now")[:1]), triage=Subquery(cases.values("rank")[:1], output_field=IntegerField())
    )


def with_facts(apps):
    Case, Analysis, Assessment, SignOff, StudyItem = (
        apps.get_model("cases", name) for name in ("Case", "Analysis", "Assessment", "SignOff", "StudyItem")
    )
    runs = Analysis.objects.filter(case=OuterRef("pk")).order_by("-requested_at", "-id")
    newest = Assessment.objects.filter(analysis__case=OuterRef("pk")).order_by("-pk")
    unchecked = StudyItem.objects.filter(case=OuterRef("pk"), status="received")
    signed = SignOff.objects.filter(report__assessment=OuterRef("assessment"))
    cases = Case.objects.filter(pk=OuterRef("pk")).annotate(
        run=Subquery(runs.values("status")[:1]),
        verdict=Subquery(newest.values("status")[:1]),
        assessment=Subquery(newest.values("pk")[:1]),
    )
    cases = cases.annotate(done=Exists(signed))
    cases = cases.annotate(
        now=Choice(
            When(run__in=["queued", "running"], then=Value("analysing")),
            When(run="failed", then=Value("failed")),
            When(Exists(unchecked), then=Value("checking")),
            When(done=True, then=Value("signed")),
            When(verdict__isnull=False, then=F("verdict")),
            default=Value("open"),
            output_field=CharField(),
        )
    )
    return cases.annotate(
        rank=Choice(
            When(now="signed", then=Value(3)),
            When(Q(done=False, urgent=True), then=Value(0)),
            When(Q(done=False, discordant=True), then=Value(1)),
            default=Value(2),
        )
    )


class Migration(migrations.Migration):
    dependencies = [("cases", "0002_triage"), ("patients", "0001_initial")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
