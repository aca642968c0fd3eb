from django.urls import path, re_path

from clinic.interop.fhir import views

app_name = "fhir"
urlpatterns = [
    path("", views.Base.as_view(), name="base"),
    path("metadata", views.Metadata.as_view(), name="metadata"),
    path("<str:kind>", views.OfType.as_view(), name="type"),
    path("<str:kind>/_search", views.SearchByForm.as_view(), name="search"),
    path("<str:kind>/<str:id_>", views.OneResource.as_view(), name="read"),
    path("<str:kind>/<str:id_>/_history/<int:version>", views.OneVersion.as_view(), name="version"),
    re_path("", views.Nothing.as_view(), name="nothing"),
]
