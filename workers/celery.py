"""``celery -A workers``: the application of clinic.celery, with Django set up and the tasks and signals attached."""

import django

from clinic.celery import app

django.setup()

from workers import signals, tasks  # noqa: E402, F401 (need Django)

__all__ = ["app"]
