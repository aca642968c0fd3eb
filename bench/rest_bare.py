"""The alternative that ``bench.rest`` names: REST framework alone, listing 20 cases without login or log."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings.development")

from clinic.wsgi import application  # noqa: F401, I001 (what gunicorn serves; it sets Django up for what follows)

from django.urls import path
from rest_framework.generics import ListAPIView
from rest_framework.pagination import CursorPagination

import clinic.urls
from clinic.api.serializers import CaseOut
from clinic.cases.models import Case


class Pages(CursorPagination):
    page_size = 20
    ordering = "-created_at"


class Bare(ListAPIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    filter_backends = ()
    pagination_class = Pages
    serializer_class = CaseOut
    queryset = Case.objects.all()


clinic.urls.urlpatterns.append(path("bare", Bare.as_view()))
