"""Everything that a service may answer instead of doing what was asked: one tree, each with a sentence for the person.

``NotFound`` and ``Denied`` are also Django's own, so a page that does not catch them still answers 404 or 403.
"""

from django.core.exceptions import PermissionDenied
from django.http import Http404


class MarrowError(Exception):
    """``place`` names the field, file or thing, ``problem`` what is wrong with it, ``remedy`` what to do."""

    status = 500
    title = "The service could not do this"

    def __init__(self, code, problem, remedy="", *, place=""):
        super().__init__(f"{problem} {remedy}".strip())
        self.code, self.problem, self.remedy, self.place = code, problem, remedy, place

    @property
    def detail(self):
        return f"{self.problem} {self.remedy}".strip()

    @property
    def errors(self):
        return [{"place": self.place, "problem": self.problem, "remedy": self.remedy}] if self.place else []


class LoginFailed(MarrowError):
    status = 401
    title = "Not logged in"


class NotFound(MarrowError, Http404):
    status = 404
    title = "Not found"

    def __init__(self, code="not_found", problem="There is nothing here, or not for you.", remedy="", *, place=""):
        super().__init__(code, problem, remedy, place=place)


class Denied(MarrowError, PermissionDenied):
    status = 403
    title = "Not allowed"


class Conflict(MarrowError):
    status = 409
    title = "Not possible now"


class InvalidInput(MarrowError):
    status = 400
    title = "The input was not accepted"


class NoLongerSo(MarrowError):
    status = 412
    title = "Changed meanwhile"


class OtherContent(MarrowError):
    status = 422
    title = "Another request than the first"


class SayWhichState(MarrowError):
    status = 428
    title = "Which state is meant?"


class TooLarge(InvalidInput):
    status = 413
