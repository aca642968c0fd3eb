"""Tell those who watch over the models that inputs or answers at a site have changed: in the log, and by e-mail."""

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction

from clinic.accounts.access import ACTS_OF_ROLE
from clinic.accounts.models import User
from clinic.audit.models import Action
from clinic.audit.services import record

logger = logging.getLogger(__name__)


def warn(week, alerts):
    """``alerts``: what the ``week`` says that it did not say before. Each is told once."""
    record(Action.DRIFT_ALERT, obj=week, site=week.site, detail={"monday": week.monday.isoformat(), "alerts": alerts})
    if settings.NOTICES_BY_MAIL:
        transaction.on_commit(lambda: _mail(week, alerts))


def watchers(site):
    """Everybody who may look at the monitoring of ``site`` and manage models there."""
    roles = [role for role, acts in ACTS_OF_ROLE.items() if {"monitoring.view", "model.manage"} <= acts]
    return User.objects.filter(memberships__site=site, memberships__role__in=roles, is_active=True).distinct()


def _mail(week, alerts):
    to = [user.email for user in watchers(week.site) if user.email]
    text = (
        f"At {week.site.name}, in the week from {week.monday:%d %B %Y}:\n\n"
        + "".join(f"- {said}\n" for said in alerts)
        + f"\n{settings.PUBLIC_URL}/monitoring/\n\nThis mail holds no patient data.\n"
    )
    try:
        for address in to:  # each alone: nobody learns who else is told
            EmailMessage("[Marrow] Inputs or answers have changed", text, to=[address]).send()
    except (OSError, SMTPException) as error:
        logger.warning("a warning of drift could not be mailed: %s", type(error).__name__)
