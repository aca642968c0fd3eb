from django.core.management.base import BaseCommand

from clinic.audit.context import acting
from clinic.cases.upkeep import DAY, collect


class Command(BaseCommand):
    help = "List the stored files that no row names; with --delete, remove them (an audited act)."

    def add_arguments(self, parser):
        parser.add_argument("--delete", action="store_true")
        parser.add_argument("--older-than", type=int, default=DAY, metavar="SECONDS")

    def handle(self, *args, **options):
        with acting("collect_files"):
            found = collect(delete=options["delete"], older_than=options["older_than"])
        for path in found:
            self.stdout.write(str(path))
        self.stdout.write(f"{len(found)} file(s) without a row{' removed' if options['delete'] else ''}")
