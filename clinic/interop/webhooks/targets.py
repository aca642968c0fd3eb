"""Where a webhook may point: never into the machine or its network, unless the operator allowed that very place.

The name is resolved here, every address it has is judged, and the connection goes to one of those addresses: a name
that answers differently a moment later changes nothing.
"""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from clinic.errors import InvalidInput

NAT64 = ipaddress.ip_network("64:ff9b::/96")
PLACE = "url"


@dataclass(frozen=True)
class Target:
    """``addresses``: those to connect to; ``host``: what the certificate and the Host header are about."""

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple

    @property
    def authority(self):
        standard = {"https": 443, "http": 80}[self.scheme]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == standard else f"{host}:{self.port}"

    @property
    def urls(self):
        for address in self.addresses:
            place = f"[{address}]" if ":" in address else address
            yield f"{self.scheme}://{place}:{self.port}{self.path}"


def resolve(url):
    """The target of ``url``. Raises InvalidInput where it is no address that may be called."""
    parts, port = _split(url)
    allowed = _allowed(parts.hostname, port)
    if parts.scheme != "https" and not allowed:
        raise _no("not_https", "Only https is called.", "Use https, or have the operator allow this target.")
    addresses = _addresses(parts.hostname, port)
    for address in addresses:
        if not allowed and not is_public(address):
            problem = f"{parts.hostname} is an address inside of a network."
            raise _no("private_target", problem, "Use a public one, or have the operator allow it.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, port, path, tuple(addresses))


def _split(url):
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        parts, port = None, None
    if not parts or not parts.hostname or not port or parts.username or parts.password or parts.fragment:
        raise _no("bad_url", "It is no plain address.", "Use https://host/path, without name and password.")
    return parts, port


def _addresses(host, port):
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _no("unknown_host", f"{host[:100]} cannot be found.", "Check the name.") from None
    return list(dict.fromkeys(one[4][0].partition("%")[0] for one in found))


def is_public(text):
    """Whether an address is of the open internet: not private, loopback, link-local, shared, multicast or reserved."""
    address = ipaddress.ip_address(text)
    if address.version == 6:
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in NAT64:
            inner = ipaddress.ip_address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _allowed(host, port):
    return f"{host}:{port}" in settings.WEBHOOK_ALLOWED_TARGETS


def _no(code, problem, remedy):
    return InvalidInput(code, problem, remedy, place=PLACE)
