"""Rate limits that all processes count together: one number for each caller and window, raised by one in the cache."""

import time

from django.conf import settings
from django.core.cache import cache
from rest_framework.throttling import SimpleRateThrottle

WINDOWS = {"s": 1, "m": 60, "h": 3600}


class CountedThrottle(SimpleRateThrottle):
    """A window begins with the full minute (or second, hour): ``rate`` is a number per s, m or h.

    REST framework's own keeps a list of times, which two processes overwrite for each other.
    """

    def __init__(self):
        self.num_requests, self.duration = parsed(self.rate)

    def get_rate(self):
        return self.rate

    def allow_request(self, request, view):
        caller = self.get_cache_key(request, view)
        if caller is None:
            return True
        window, into = divmod(time.time(), self.duration)
        self.left = self.duration - into
        key = f"{caller}:{int(window)}"
        cache.add(key, 0, timeout=self.duration + 1)
        return cache.incr(key) <= self.num_requests

    def wait(self):
        return self.left


class RequestsOfUser(CountedThrottle):
    """What one user, or one address without a login, may ask in all."""

    scope = "requests"

    @property
    def rate(self):
        return settings.API_RATE

    def get_cache_key(self, request, view):  # noqa: ARG002 (REST framework's signature)
        user = request.user
        ident = user.pk if user and user.is_authenticated else self.get_ident(request)
        return f"throttle:{self.scope}:{ident}"


class CountedByUser(CountedThrottle):
    """Base of limits on one act by one user: set ``scope`` and ``rate``."""

    def get_cache_key(self, request, view):  # noqa: ARG002 (REST framework's signature)
        return f"throttle:{self.scope}:{request.user.pk}" if request.user.is_authenticated else None


def parsed(rate):
    """Such as 30/min → (30, 60)."""
    count, _, per = rate.partition("/")
    return int(count), WINDOWS[per[0]]
