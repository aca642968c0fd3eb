from django.core.management.base import BaseCommand

from clinic.audit.anchors import rotate_key
from clinic.audit.context import acting


class Command(BaseCommand):
    help = (
        "Sign audit heads with a new key from now on. What older keys signed stays verifiable; the change is an event."
    )

    def handle(self, *args, **options):
        with acting("rotate_audit_key"):
            old, new = rotate_key()
        self.stdout.write(f"key {old} endorsed {new}, which signs from now on")
