"""Compare this week's inputs and answers at every site with those before; a worker does it every hour."""

from typing import Any

from django.core.management.base import BaseCommand

from clinic.monitoring.drift import measure_this_week


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        rows = measure_this_week()
        alerts = [f"{row.site.code}, week of {row.monday}: {said}" for row in rows for said in row.alerts]
        self.stdout.write("\n".join(alerts) or f"{len(rows)} measured, nothing has changed.")
