from clinic.cases.visibility import cases_visible_to
from clinic.notices.models import Notice


def notices_visible_to(user):
    """One's own, of cases that one may still see."""
    rows = Notice.objects.filter(recipient=user.pk, case__in=cases_visible_to(user))
    return rows.select_related("case__patient", "case__site")
