"""The emergency stop: an administrator halts new inference, by one model or by all, and it stays halted until released.

The row is asked where an analysis is requested and, by the worker, before each modality and at each sign of progress:
what has begun stops within seconds as well.
"""

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.errors import Conflict, InvalidInput, MarrowError
from clinic.registry.models import ModelBundle
from clinic.safeguards.models import Halt


class Halted(MarrowError):
    status = 503
    title = "Inference is halted"

    def __init__(self, halt):
        problem = f"An administrator has halted {halt.what}: {halt.reason}"
        super().__init__("inference_halted", problem, "Wait until it is released, and judge without it.")


def live_halts():
    return Halt.objects.filter(released_at__isnull=True)


def check(bundles):
    """Raise Halted where one of these bundles (names), or every one, is halted."""
    over = live_halts().filter(Q(bundle="") | Q(bundle__in=[*bundles])).order_by("bundle").first()
    if over:
        raise Halted(over)


@transaction.atomic
def halt(*, bundle="", reason, by):
    """Stop ``bundle`` (a name; empty: all) now. ``by`` None is the operator at the machine."""
    if by:
        require(by, "inference.halt")
    if bundle and not ModelBundle.objects.filter(name=bundle).exists():
        raise InvalidInput("unknown_bundle", "There is no model of that name.", "Choose one.", place="bundle")
    try:
        with transaction.atomic():
            made = Halt.objects.create(bundle=bundle, reason=_said(reason), by=by)
    except IntegrityError as error:
        raise Conflict("halted_already", "That is halted already.", place="bundle") from error
    record(Action.INFERENCE_HALT, by=by, obj=made, detail={"bundle": bundle or "all", "reason": made.reason})
    return made


@transaction.atomic
def release(*, halt, reason, by):
    """Let it work again: a second act, with its own reason."""
    if by:
        require(by, "inference.halt")
    fields = {"released_at": timezone.now(), "released_by": by, "release_reason": _said(reason)}
    if not live_halts().filter(pk=halt.pk).update(**fields):
        raise Conflict("released_already", "That has been released already.")
    said = {"bundle": halt.bundle or "all", "reason": fields["release_reason"]}
    record(Action.INFERENCE_RELEASE, by=by, obj=halt, detail=said)


def _said(reason):
    if not reason.strip():
        raise InvalidInput("missing", "It needs a reason.", "Say in a sentence why.", place="reason")
    return reason.strip()
