from django.urls import path

from clinic.uploads import views

app_name = "uploads"
urlpatterns = [
    path("cases/<uuid:pk>/uploads/", views.uploads, name="uploads"),
    path("cases/<uuid:pk>/uploads/pulse/", views.pulse, name="pulse"),
    path("uploads/<uuid:pk>/", views.upload, name="upload"),
    path("uploads/<uuid:pk>/retry/", views.retry, name="retry"),
]
