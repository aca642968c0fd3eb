"""Learn a site's temperature, prior and thresholds of the fusion from its signed cases, or take them back."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from clinic.accounts.models import Site, User
from clinic.audit.context import acting
from clinic.errors import MarrowError
from clinic.monitoring.calibrations import undo
from clinic.monitoring.models import CalibrationStatus
from workers.recalibration import recalibrate_site


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--site", required=True, help="the site's code")
        parser.add_argument("--user", help="username of the administrator who asks; needed to undo")
        parser.add_argument("--undo", metavar="REASON", help="take the active recalibration back")

    def handle(self, *args: Any, site: str, user: str, undo: str, **options: Any) -> None:
        place = Site.objects.filter(code=site).first()
        who = User.objects.filter(username=user).first()
        if place is None or (user and who is None):
            raise CommandError(f"There is no {'site' if place is None else 'user'} {site if place is None else user}.")
        with acting(f"recalibrate {site}"):
            (self._undo(place, undo, who) if undo else self._learn(place, who))

    def _learn(self, site: Site, by: User | None) -> None:
        row = recalibrate_site(site, by)
        if row.status == CalibrationStatus.REFUSED:
            raise CommandError(row.reason)
        gain = row.body["effect"]["log_loss"]["gain"]
        self.stdout.write(
            f"{row.reference} adopted from {row.body['cases']} signed cases: log-loss lower by {gain['value']:.3f} "
            f"({gain['low']:.3f} to {gain['high']:.3f}, cross-validated); temperature {row.body['temperature']}, "
            f"least probability of an answer {row.body['threshold']}. SHA-256 {row.sha256}"
        )

    def _undo(self, site: Site, reason: str, by: User | None) -> None:
        if by is None:
            raise CommandError("To undo needs --user: the administrator who takes it back.")
        try:
            earlier = undo(site=site, reason=reason, by=by)
        except MarrowError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Undone. {'Now speaks ' + earlier.reference if earlier else 'The site has none now'}.")
