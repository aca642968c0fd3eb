"""Log lines without values: a traceback's frames and the exception's type, never its text, which may hold a patient."""

import logging
import traceback


class WithoutValues(logging.Formatter):
    """The exception's own words are left out, and the source lines stay: they are ours, not a patient's."""

    def formatException(self, ei):  # noqa: N802 (the library's name)
        kind, _, trace = ei
        frames = "".join(traceback.format_tb(trace)).rstrip()
        return f"{frames}\n{kind.__module__}.{kind.__qualname__} (its text is not logged)"


class WithoutTaskErrors(logging.Filter):
    """Celery puts an exception's text and traceback into the message of a failed task: the type alone is kept."""

    def filter(self, record):
        if record.name == "celery.app.trace" and isinstance(record.args, dict) and "exc" in record.args:
            kind = str(record.args["exc"]).split("(", 1)[0]
            record.args = record.args | {"exc": kind, "traceback": "", "args": "", "kwargs": ""}
        return True
