from django.urls import path

from clinic.notices import views

app_name = "notices"
urlpatterns = [
    path("", views.notices, name="notices"),
    path("pulse/", views.pulse, name="pulse"),
    path("read/", views.read_all, name="read_all"),
    path("preference/", views.preference, name="preference"),
    path("<uuid:pk>/", views.open_notice, name="open"),
]
