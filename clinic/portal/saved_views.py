"""A person's own worklist filters."""

from django.db import IntegrityError, transaction

from clinic.errors import Conflict, InvalidInput
from clinic.portal.models import SavedView

AT_MOST = 20


def save_view(*, name, query, by):
    name = " ".join(name.split())
    if not name or len(name) > 40:
        raise InvalidInput("bad_name", "A view needs a name of at most 40 characters.", place="name")
    if by.saved_views.count() >= AT_MOST:
        raise Conflict("too_many_views", f"There are {AT_MOST} views already.", "Delete one first.", place="name")
    try:
        with transaction.atomic():
            return SavedView.objects.create(user=by, name=name, query=query)
    except IntegrityError as error:
        raise Conflict("view_exists", f"There is a view called {name} already.", "Choose another name.") from error


def saved_views_of(user):
    return SavedView.objects.filter(user=user.pk)
