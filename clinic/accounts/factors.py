"""Changes of second factors, written down in the transaction in which allauth's own views make them."""

from functools import wraps

from allauth.mfa.models import Authenticator
from django.db import transaction

from clinic.audit.models import Action
from clinic.audit.services import record


def recording_factors(view):
    """``view`` in a transaction that also holds an event for each factor that came or went."""

    @wraps(view)
    @transaction.atomic
    def recorded(request, *args, **kwargs):
        user, before = request.user, _factors(request.user)
        response = view(request, *args, **kwargs)
        after = _factors(user)
        for pk in before.keys() ^ after.keys():
            how = "added" if pk in after else "removed"
            record(Action.FACTOR_CHANGE, by=user, obj=user, detail={"factor": (before | after)[pk], "how": how})
        return response

    return recorded


def _factors(user):
    return dict(Authenticator.objects.filter(user=user.pk).values_list("pk", "type")) if user.pk else {}
