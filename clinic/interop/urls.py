"""Where other systems call: each standard under its own address."""

from django.urls import include, path

from clinic.interop.fhir.views import Base as FhirBase

urlpatterns = [
    path("dicomweb/", include("clinic.interop.dicomweb.urls")),
    path("", include("clinic.interop.cds_hooks.urls")),
    path("api/v1/", include("clinic.interop.api_urls")),
    path("", include("clinic.interop.page_urls")),
    path("fhir", FhirBase.as_view(), name="fhir_base"),  # a Bundle is also posted to the address without its slash
    path("fhir/", include("clinic.interop.fhir.urls")),
]
