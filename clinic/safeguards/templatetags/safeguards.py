from django import template

from clinic.accounts.login import has_second_factor
from clinic.portal.guard import acts
from clinic.safeguards.emergency import unreviewed
from clinic.safeguards.halts import live_halts

register = template.Library()


@register.inclusion_tag("safeguards/banners.html", takes_context=True)
def safeguards(context, user):
    """What everybody must see on every page: that models are halted, and (reviewers) that a glass was broken."""
    if not user.is_authenticated:
        return {}
    waiting = unreviewed(user).count() if "audit.view" in acts(context["request"]) else 0
    return {"halts": list(live_halts()), "waiting": waiting}


@register.filter
def has_factor(user):
    return has_second_factor(user)
