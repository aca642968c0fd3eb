from clinic.cases.visibility import cases_visible_to
from clinic.uploads.models import Upload


def uploads_visible_to(user):
    uploads = Upload.objects.filter(case__in=cases_visible_to(user))
    return uploads.select_related("case__patient__site", "item", "by")
