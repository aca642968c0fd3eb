import json
from dataclasses import asdict

from django.core.management.base import BaseCommand

from clinic.audit.verification import verify, verify_on


class Command(BaseCommand):
    help = (
        "Check the audit chain from the last verified anchor on. "
        "Exit status 0: whole. 1: broken, and the first bad sequence number is printed."
    )

    def add_arguments(self, parser):
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.add_argument("--full", action="store_true", help="from the first event, whatever was verified before")
        parser.add_argument("--from-seq", type=int, help="trust what is before this number")

    def handle(self, *args, **options):
        start = options["from_seq"]
        result = verify(start) if start else verify_on(full=options["full"])
        if options["json"]:
            said = asdict(result) | {"to_seq": result.to_seq, "ranges": result.ranges}
            self.stdout.write(json.dumps(said))
        elif result.ok:
            self.stdout.write(f"audit chain whole: {result.count} events, {self._signed(result)}")
        else:
            self.stdout.write(f"audit chain broken at seq {result.first_bad}: {result.why}")
        if not result.ok:
            raise SystemExit(1)

    def _signed(self, result):
        if not result.anchored_to:
            return "no anchor yet"
        parts = [f"{first}–{last} {'signed' if signed else 'not yet signed'}" for first, last, signed in result.ranges]
        before = f"verified before up to {result.from_seq - 1}; " if result.from_seq > 1 else ""
        return f"anchored up to {result.anchored_to} ({before}{', '.join(parts) or 'nothing new'})"
