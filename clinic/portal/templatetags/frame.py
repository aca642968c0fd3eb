"""What the frame around every page shows."""

from django import template

from clinic.accounts.access import acts_of
from clinic.portal.navigation import entries_for

register = template.Library()
THEMES = ("light", "dark")


@register.simple_tag(takes_context=True)
def navigation(context):
    request = context["request"]
    match = request.resolver_match
    return entries_for(acts_of(request.user), match.view_name if match else "")


@register.simple_tag
def roles_of(user):
    return user.memberships.select_related("site").order_by("site__name")


@register.simple_tag(takes_context=True)
def theme(context):
    """The person's own choice, or none: then the system decides."""
    request = context.get("request")
    chosen = request.COOKIES.get("theme", "") if request else ""
    return chosen if chosen in THEMES else ""
