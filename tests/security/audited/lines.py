"""One line an endpoint: what it shows of patients, or does, and which event says so.

A new endpoint needs a line in a file of this folder (one file an application, its dict called ``LINES``): the URL's
name with its namespace → one line, or a list of them where several methods are answered.

    "api:case": shows("case.read", "case"),                     # GET; args are objects of tests/security/world.py
    "api:reports": [shows("report.read", "case"), acts("report.draft", "unreported")],
    "api:bundles": plain("models are no patients"),             # shows nothing of any patient: this, too, is tried
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """``args``: names of objects in the world (their ids go into the URL), or plain values.

    ``body``, ``query`` and ``headers`` may be functions of the world. ``by`` names the fixture of the user who may.
    """

    kind: str
    action: str = ""
    args: tuple = ()
    method: str = "get"
    by: str = "clinician"
    body: object = None
    query: object = None
    headers: dict = field(default_factory=dict)
    format: str = "json"
    why: str = ""
    answer: int | None = None


def shows(action, *args, **said):
    """An answer with patient data; the event names the patient, the case or the object, or lists the hits."""
    return Line("shows", action, args, **said)


def acts(action, *args, method="post", **said):
    """Something is done, whatever is answered; without its event nothing is."""
    return Line("acts", action, args, method=method, **said)


def plain(why, *args, **said):
    """Nothing of any patient is shown and nothing is done that the log keeps; ``why`` says how come."""
    return Line("plain", args=args, why=why, **said)
