from django.urls import path

from clinic.safeguards import views

app_name = "safeguards"
urlpatterns = [
    path("stop/", views.stop, name="stop"),
    path("stop/<uuid:pk>/release/", views.release, name="release"),
    path("emergency-access/", views.emergency_access, name="emergency"),
    path("emergency-access/<uuid:pk>/review/", views.review, name="review"),
]
