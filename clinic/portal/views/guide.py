"""Help: a tour on the synthetic cases, every term in a sentence, what the product is for and what it cannot do."""

from django.shortcuts import render
from django.views.decorators.http import require_GET

from clinic.accounts.access import acts_of
from clinic.portal.glossary import GLOSSARY
from clinic.portal.guard import signed_in
from clinic.portal.reading import bundle_facts
from clinic.registry.models import BundleStatus, ModelBundle


@require_GET
@signed_in
def help_page(request):
    active = ModelBundle.objects.filter(status=BundleStatus.ACTIVE).order_by("name")
    page = {
        "acts": acts_of(request.user),
        "glossary": GLOSSARY.items(),
        "bundles": [bundle_facts(bundle) for bundle in active],
    }
    return render(request, "portal/help.html", page)
