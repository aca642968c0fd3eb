"""Tell people that a case waits for them: once, in the portal, and by e-mail where the hospital has a mail server.

``announce`` runs in the transaction of what it tells of, which holds the lock of the case's row: two that tell of one
case come one after the other, and the constraint stands behind both.
"""

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from clinic import mail
from clinic.accounts.access import roles_with
from clinic.accounts.models import User
from clinic.notices.models import Kind, Notice, Preference, Scope

MAILS_AT_ONCE = 10
SUBJECTS = {
    Kind.URGENT: "URGENT: a result needs you now",
    Kind.READY: "A result is ready to be reviewed",
    Kind.FAILED: "An analysis failed",
}


def announce(*, case, kind, asked_by):
    """Tell whoever should know. Who was told of this kind already, is not told again; what is new replaces it."""
    now = timezone.now()
    people = {user.pk: user for user in _recipients(case, kind, asked_by)}
    known = dict(Notice.objects.filter(case=case, recipient__in=people).values_list("recipient_id", "kind"))
    for_mail = {pk for pk, user in people.items() if _wants_mail(user)}
    Notice.objects.bulk_create(
        [
            Notice(recipient_id=pk, case=case, kind=kind, changed_at=now, mail_due=pk in for_mail)
            for pk in people.keys() - known.keys()
        ],
        ignore_conflicts=True,
    )
    for mail_due in (True, False):
        changed = [pk for pk, before in known.items() if before != kind and (pk in for_mail) is mail_due]
        rows = Notice.objects.filter(case=case, recipient__in=changed)
        rows.update(kind=kind, changed_at=now, read_at=None, mail_due=mail_due)


def settle(case):
    """The case is signed: nobody needs to be told any more."""
    Notice.objects.filter(case=case, read_at__isnull=True).update(read_at=timezone.now(), mail_due=False)


def mark_read(notices):
    notices.filter(read_at__isnull=True).update(read_at=timezone.now())


def set_preference(*, scope, by_mail, by):
    Preference.objects.update_or_create(user=by, defaults={"scope": scope, "by_mail": by_mail})


def send_due():
    """Send the mails that are due. Each is claimed first: one that may have left is never sent again."""
    due = Notice.objects.filter(mail_due=True).select_related("recipient", "case__site").order_by("changed_at")
    for notice in due[:MAILS_AT_ONCE]:
        claimed = Notice.objects.filter(pk=notice.pk, mail_due=True, kind=notice.kind).update(mail_due=False)
        if claimed and not _send(notice):
            Notice.objects.filter(pk=notice.pk, kind=notice.kind, read_at__isnull=True).update(mail_due=True)
            return


def _send(notice):
    """As ``mail.sent``. The mail names no patient: mail is read on telephones and kept by strangers."""
    text = (
        f"{SUBJECTS[notice.kind]} at {notice.case.site.name}.\n\n{settings.PUBLIC_URL}/notices/{notice.pk}/\n\n"
        "This mail holds no patient data. Decision support; a clinician reviews and signs.\n"
    )
    urgent = {"X-Priority": "1", "Importance": "high"} if notice.kind == Kind.URGENT else {}
    return mail.sent(f"[Marrow] {SUBJECTS[notice.kind]}", text, notice.recipient.email, urgent)


def _wants_mail(user):
    return bool(settings.NOTICES_BY_MAIL and user.email and _preference(user).by_mail)


def _preference(user):
    return getattr(user, "notice_preference", None) or Preference()


def _recipients(case, kind, asked_by):
    """Everybody who may sign at the site, as they wish; and who asked, while they still work there."""
    may_sign = Q(memberships__site=case.site_id, memberships__role__in=roles_with("report.sign"))
    asked = Q(pk=asked_by.pk, memberships__site=case.site_id, memberships__role__in=roles_with("case.view"))
    users = User.objects.filter(may_sign | asked, is_active=True).select_related("notice_preference").distinct()
    return [
        user for user in users if kind == Kind.URGENT or user.pk == asked_by.pk or _preference(user).scope == Scope.SITE
    ]
