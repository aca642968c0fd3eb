import getpass
import sys

from django.core.management.base import BaseCommand, CommandError

from clinic.accounts.models import Role, Site, User
from clinic.accounts.services import create_site, create_user, grant_role
from clinic.errors import MarrowError


class Command(BaseCommand):
    help = "Create a user with a role at a site; the password is asked for, or read from standard input."

    def add_arguments(self, parser):
        parser.add_argument("username")
        parser.add_argument("--site", required=True, help="the site's code; created if it is new")
        parser.add_argument("--site-name", default="")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--first-name", default="")
        parser.add_argument("--last-name", default="")

    def handle(self, *, username, site, site_name, role, first_name, last_name, **said):
        ask = sys.stdin.isatty()
        try:
            user = User.objects.filter(username=username).first()
            if user is None:
                password = getpass.getpass() if ask else sys.stdin.readline().rstrip("\n")
                user = create_user(username=username, password=password, first_name=first_name, last_name=last_name)
            where = Site.objects.filter(code=site).first() or create_site(code=site, name=site_name or site)
            grant_role(user=user, site=where, role=role)
        except MarrowError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{username}: {role} at {where.name}")
