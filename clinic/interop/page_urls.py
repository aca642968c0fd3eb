"""The pages of the portal about other systems: what they sent that waits for a person, and who is told of events."""

from django.urls import path

from clinic.interop.results import pages as results
from clinic.interop.webhooks import pages as webhooks

app_name = "exchange"
urlpatterns = [
    path("held-results/", results.held_results, name="held_results"),
    path("held-results/<uuid:pk>/", results.held_result, name="held_result"),
    path("webhooks/", webhooks.webhooks, name="webhooks"),
    path("webhooks/<uuid:pk>/switch/", webhooks.switch, name="switch"),
    path("webhooks/deliveries/<uuid:pk>/replay/", webhooks.send_again, name="replay"),
]
