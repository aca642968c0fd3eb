from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from clinic.audit.context import acting
from clinic.cases.upkeep import rotate_keys


class Command(BaseCommand):
    help = (
        "Seal every stored file with the newest key: a fresh one, or the first of MARROW_FILE_KEYS. "
        "Exit status 1 where a file does not open with any key."
    )

    def add_arguments(self, parser):
        parser.add_argument("--no-new-key", action="store_true", help="go on with the key there is")

    def handle(self, *args, **options):
        try:
            with acting("rotate_file_keys"):
                counts, broken = rotate_keys(add=not options["no_new_key"])
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        self.stdout.write(", ".join(f"{name}: {count}" for name, count in counts.items()))
        for sentence in broken:
            self.stderr.write(sentence)
        if broken:
            raise SystemExit(1)
