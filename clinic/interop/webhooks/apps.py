from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "clinic.interop.webhooks"
    label = "webhooks"
