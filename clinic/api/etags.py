"""``ETag`` and ``If-Match``: who edits says which state they saw, so that nobody's edit is lost."""

from clinic.canonical import digest
from clinic.errors import NoLongerSo, SayWhichState


def etag_of(data):
    """Of a representation, as it is told."""
    return f'"{digest(data)[:32]}"'


def check_match(request, etag):
    """Raise unless ``If-Match`` names this state (or ``*``, any)."""
    said = request.headers.get("If-Match", "").strip()
    if not said:
        problem = "An edit must say which state it changes."
        raise SayWhichState("if_match_missing", problem, "Send the ETag you got, as If-Match.", place="If-Match")
    if said != "*" and etag not in [one.strip() for one in said.split(",")]:
        problem = "It was changed since you read it."
        raise NoLongerSo("changed_meanwhile", problem, "Read it again and repeat your edit.", place="If-Match")
