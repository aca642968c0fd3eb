from django.core.management.base import BaseCommand

from clinic.cases.keyring import new_word


class Command(BaseCommand):
    help = "Print a fresh key for MARROW_FILE_KEYS. Put it first; keep the older ones until rotate_file_keys has run."

    def handle(self, *args, **options):
        self.stdout.write(new_word())
