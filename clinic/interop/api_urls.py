from django.urls import path

from clinic.interop.results import views as results
from clinic.interop.webhooks import views as webhooks

app_name = "interop"
urlpatterns = [
    path("held-results", results.HeldResults.as_view(), name="held_results"),
    path("held-results/<uuid:pk>", results.OneHeld.as_view(), name="held_result"),
    path("held-results/<uuid:pk>/take", results.TakeHeld.as_view(), name="take_held"),
    path("held-results/<uuid:pk>/dismiss", results.DismissHeld.as_view(), name="dismiss_held"),
    path("webhooks", webhooks.Webhooks.as_view(), name="webhooks"),
    path("webhooks/<uuid:pk>", webhooks.OneWebhook.as_view(), name="webhook"),
    path("webhook-deliveries", webhooks.Deliveries.as_view(), name="deliveries"),
    path("webhook-deliveries/<uuid:pk>/replay", webhooks.ReplayDelivery.as_view(), name="replay"),
]
