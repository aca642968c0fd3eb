from django.urls import path

from clinic.interop.results import views as results

app_name = "interop"
urlpatterns = [
    path("held-results", results.HeldResults.as_view(), name="held_results"),
    path("held-results/<uuid:pk>", results.OneHeld.as_view(), name="held_result"),
    path("held-results/<uuid:pk>/take", results.TakeHeld.as_view(), name="take_held"),
    path("held-results/<uuid:pk>/dismiss", results.DismissHeld.as_view(), name="dismiss_held"),
]
