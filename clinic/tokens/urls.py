from django.urls import path

from clinic.tokens import views

app_name = "tokens"
urlpatterns = [
    path("", views.Tokens.as_view(), name="tokens"),
    path("<uuid:pk>/revoke/", views.revoke_token, name="revoke"),
]
