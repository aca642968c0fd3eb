from django.urls import path

from clinic.interop.cds_hooks import views

app_name = "cds"
urlpatterns = [
    path("cds-services", views.Discovery.as_view(), name="discovery"),
    path("cds-services/<str:service_id>", views.Call.as_view(), name="service"),
    path("cds-services/<str:service_id>/feedback", views.Feedback.as_view(), name="feedback"),
]
