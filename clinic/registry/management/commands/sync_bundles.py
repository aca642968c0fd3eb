from django.core.management.base import BaseCommand

from clinic.registry.services import sync_bundles


class Command(BaseCommand):
    help = "Know every model bundle in the bundle folders; activate the newest where none of its name is active."

    def handle(self, *args, **options):
        found, broken = sync_bundles()
        for bundle in found:
            self.stdout.write(f"{bundle.reference} {bundle.status} {bundle.sha256[:12]}")
        for sentence in broken:
            self.stderr.write(sentence)
        if broken:
            raise SystemExit(1)
