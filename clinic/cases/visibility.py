"""What a person may see: one queryset each, so that a list and a single object cannot disagree."""

from django.core.exceptions import ValidationError
from django.db.models import Q

from clinic.accounts.access import sites_where
from clinic.audit.services import deny
from clinic.cases.models import Analysis, Artefact, Case, Finding, Report, StudyItem
from clinic.errors import NotFound
from clinic.patients.models import Patient
from clinic.safeguards.emergency import patients_opened_by


def patients_visible_to(user):
    return _of_sites_or_opened(Patient.objects, user, "pk").select_related("site")


def cases_visible_to(user):
    return _of_sites_or_opened(Case.objects, user, "patient").select_related("patient__site", "created_by")


def _of_sites_or_opened(rows, user, patient):
    """Rows of the sites where ``user`` works, and of patients whose glass they have broken within the hour."""
    here, opened = Q(site__in=sites_where(user, "case.view")), patients_opened_by(user)
    return rows.filter(here | Q(**{f"{patient}__in": opened}) if opened else here)


def sites_listed_to(user):
    """The sites whose rows are all that ``user`` sees; None where single patients of others are open to them, too."""
    return None if patients_opened_by(user) else list(sites_where(user, "case.view").values_list("pk", flat=True))


def items_visible_to(user):
    return StudyItem.objects.filter(case__in=cases_visible_to(user)).select_related(
        "case__patient__site", "case__created_by"
    )


def analyses_visible_to(user):
    return Analysis.objects.filter(case__in=cases_visible_to(user)).select_related("case__patient__site")


def findings_visible_to(user):
    findings = Finding.objects.filter(analysis__case__in=cases_visible_to(user))
    return findings.select_related("analysis__case__patient__site")


def artefacts_visible_to(user):
    artefacts = Artefact.objects.filter(finding__analysis__case__in=cases_visible_to(user))
    return artefacts.select_related("finding__analysis__case__patient__site")


def reports_visible_to(user):
    reports = Report.objects.filter(case__in=cases_visible_to(user))
    return reports.select_related(
        "case__patient__site", "created_by", "sign_off__second_reading", "amends", "amended_by"
    )


def find(visible_to, pk, *, by):
    """The object with this id among those that ``visible_to(by)`` gives. Raises NotFound.

    Whoever asks for one that exists and is not theirs gets the same answer, and is written down.
    """
    rows = visible_to(by)
    try:
        found = rows.filter(pk=pk).first()
    except ValidationError:  # no id at all
        raise NotFound from None
    if found is None:
        foreign = rows.model.objects.filter(pk=pk).first()
        if foreign:
            deny("read", by=by, obj=foreign)
        raise NotFound
    return found
