"""Files and pictures of a case: each request is one audited reading."""

from django.views.decorators.http import require_GET

from clinic.cases import downloads
from clinic.portal.guard import allowed


@require_GET
@allowed("case.view")
def item_file(request, pk):
    return downloads.item_content(pk, by=request.user)


@require_GET
@allowed("case.view")
def item_frame(request, pk, number):
    return downloads.item_frame(pk, number, by=request.user)


@require_GET
@allowed("case.view")
def artefact(request, pk):
    return downloads.artefact_content(pk, by=request.user)
