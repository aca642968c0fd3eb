"""JSON in the one form that is hashed and signed: RFC 8785."""

import hashlib
import json

import rfc8785
from django.core.serializers.json import DjangoJSONEncoder


def plain(value):
    """``value`` as JSON knows it: ids and dates as text, tuples as lists."""
    return json.loads(json.dumps(value, cls=DjangoJSONEncoder))


def canonical_json(value):
    return rfc8785.dumps(plain(value))


def digest(value):
    """SHA-256, in hex, of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
