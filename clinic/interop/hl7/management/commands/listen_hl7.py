"""The MLLP listener as a process of its own, beside web and worker."""

import asyncio
import signal
import ssl
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from clinic.accounts.access import may
from clinic.accounts.models import Site, User
from clinic.interop.hl7.listener import Listener


class Command(BaseCommand):
    help = "Take laboratory results (HL7 v2 ORU^R01 over MLLP) for one site, as one of its users (an integrator)."

    def add_arguments(self, parser):
        parser.add_argument("--site", required=True, help="the site's code")
        parser.add_argument("--user", required=True, help="who receives them: a user with a role at the site")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=2575)
        parser.add_argument("--tls-cert", type=Path, help="certificate chain (PEM): MLLP over TLS")
        parser.add_argument("--tls-key", type=Path, help="its private key (PEM)")
        parser.add_argument("--tls-clients", type=Path, help="only senders with a certificate of this authority (PEM)")

    def handle(self, *, site, user, host, port, **said):
        home = Site.objects.filter(code=site).first()
        person = User.objects.filter(username=user).first()
        if home is None or person is None or not may(person, "item.upload", home):
            raise CommandError(f"{user} may not receive results at {site}: name a site and one of its integrators.")
        tls = _tls(said["tls_cert"], said["tls_key"], said["tls_clients"])
        asyncio.run(self._listen(Listener(site=home, by=person, host=host, port=port, tls=tls)))

    async def _listen(self, listener):
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        async with listener:
            self.stdout.write(f"Listening for HL7 v2 on {listener.host}:{listener.port}")
            self.stdout.flush()
            await stop.wait()


def _tls(cert, key, clients):
    if not cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if clients:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
