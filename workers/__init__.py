"""Celery tasks: the only place where rows meet models."""
