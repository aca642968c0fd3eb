"""What a site wants: settings that its administrators change, each change an event."""

from django.db import transaction

from clinic.accounts.access import require
from clinic.accounts.models import Site
from clinic.audit.models import Action
from clinic.audit.services import record


@transaction.atomic
def set_second_reader(*, site, wanted, by):
    """Whether every signed report of ``site`` is to be read a second time, by another clinician.

    It says what is wanted from now on, of reports signed before as well; readings that were made stay.
    """
    require(by, "user.manage", site, obj=site)
    row = Site.objects.select_for_update().get(pk=site.pk)
    if row.second_reader == wanted:
        return
    before, row.second_reader = {"second_reader": row.second_reader}, wanted
    row.save(update_fields=["second_reader"])
    after = {"second_reader": wanted}
    record(Action.SITE_CHANGE, by=by, obj=row, site=row, detail=after, before=before, after=after)
