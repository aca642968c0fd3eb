from django.apps import AppConfig


class CdsHooksConfig(AppConfig):
    name = "clinic.interop.cds_hooks"
    label = "cds_hooks"
