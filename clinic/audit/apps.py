from django.apps import AppConfig
from django.db.models.signals import post_migrate

from clinic.audit.immutable import install_after_migrate


class AuditConfig(AppConfig):
    name = "clinic.audit"
    label = "audit"

    def ready(self):
        post_migrate.connect(install_after_migrate, sender=self)
