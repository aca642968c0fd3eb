import json
from dataclasses import asdict

from django.core.management.base import BaseCommand

from clinic.audit.services import verify


class Command(BaseCommand):
    help = "Check the audit chain. Exit status 0: whole. 1: broken, and the first bad sequence number is printed."

    def add_arguments(self, parser):
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.add_argument("--from-seq", type=int, default=1, help="trust what is before this number")

    def handle(self, *args, **options):
        result = verify(options["from_seq"])
        if options["json"]:
            self.stdout.write(json.dumps(asdict(result)))
        elif result.ok:
            anchored = f"anchored up to {result.anchored_to}" if result.anchored_to else "no anchor yet"
            self.stdout.write(f"audit chain whole: {result.count} events, {anchored}")
        else:
            self.stdout.write(f"audit chain broken at seq {result.first_bad}: {result.why}")
        if not result.ok:
            raise SystemExit(1)
