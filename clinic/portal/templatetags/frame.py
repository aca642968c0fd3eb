"""What the frame around every page shows."""

from django import template
from django.db.models import Count
from django.urls import reverse
from django.utils.html import format_html

from clinic.notices.models import Kind
from clinic.notices.visibility import notices_visible_to
from clinic.portal import guard
from clinic.portal.glossary import GLOSSARY
from clinic.portal.navigation import entries_for

register = template.Library()
THEMES = ("light", "dark")


@register.simple_tag(takes_context=True)
def navigation(context):
    request = context["request"]
    match = request.resolver_match
    acts = guard.acts(request)
    entries = entries_for(acts, match.view_name if match else "")
    return {"entries": entries, "acts": acts, "roles": guard.roles(request)}


@register.simple_tag(takes_context=True)
def unread_notices(context):
    """How many notices wait, the urgent apart: numbers, no patient."""
    kinds = notices_visible_to(context["request"].user).filter(read_at__isnull=True).order_by()
    counts = dict(kinds.values_list("kind").annotate(count=Count("pk")))
    urgent = counts.pop(Kind.URGENT, 0)
    return {"urgent": urgent, "other": sum(counts.values())}


@register.simple_tag
def term(name):
    """A term with its sentence: shown on pointing or focus, and on the help page."""
    text, sentence = GLOSSARY[name]
    address = f"{reverse('portal:help')}#term-{name}"
    return format_html(
        '<span class="term"><a href="{}">{}</a><span class="bubble" role="tooltip">{}</span></span>',
        address,
        text[:1].lower() + text[1:] if not text[1:2].isupper() else text,
        sentence,
    )


@register.simple_tag(takes_context=True)
def theme(context):
    """The person's own choice, or none: then the system decides."""
    request = context.get("request")
    chosen = request.COOKIES.get("theme", "") if request else ""
    return chosen if chosen in THEMES else ""
