"""Tell those who watch over the models that inputs or answers at a site have changed: in the log, and by e-mail."""

from django.conf import settings
from django.db import transaction

from clinic import mail
from clinic.accounts.access import roles_with
from clinic.accounts.models import User
from clinic.audit.models import Action
from clinic.audit.services import record


def warn(week, alerts):
    """``alerts``: what the ``week`` says that it did not say before. Each is told once."""
    record(Action.DRIFT_ALERT, obj=week, site=week.site, detail={"monday": week.monday.isoformat(), "alerts": alerts})
    if settings.NOTICES_BY_MAIL:
        transaction.on_commit(lambda: _mail(week, alerts))


def watchers(site):
    """Everybody who may look at the monitoring of ``site`` and manage models there."""
    roles = roles_with("monitoring.view", "model.manage")
    return User.objects.filter(memberships__site=site, memberships__role__in=roles, is_active=True).distinct()


def _mail(week, alerts):
    to = [user.email for user in watchers(week.site) if user.email]
    text = (
        f"At {week.site.name}, in the week from {week.monday:%d %B %Y}:\n\n"
        + "".join(f"- {said}\n" for said in alerts)
        + f"\n{settings.PUBLIC_URL}/monitoring/\n\nThis mail holds no patient data.\n"
    )
    for address in to:  # each alone: nobody learns who else is told
        mail.sent("[Marrow] Inputs or answers have changed", text, address)
