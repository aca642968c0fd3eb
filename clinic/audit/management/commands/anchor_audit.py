from django.core.management.base import BaseCommand

from clinic.audit.anchors import anchor_head
from clinic.audit.delivery import deliver


class Command(BaseCommand):
    help = "Sign the newest audit event, write the anchor to its folder, and bring it to MARROW_AUDIT_ANCHOR_TARGETS."

    def handle(self, *args, **options):
        anchor = anchor_head()
        self.stdout.write(f"anchored at seq {anchor.seq}: {anchor.hash}" if anchor else "nothing to anchor yet")
        for target, count in deliver().items():
            self.stdout.write(f"{count} anchor(s) brought to {target}")
