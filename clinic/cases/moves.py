from django.db.models import QuerySet


def move(rows, *, expect, to, **fields):
    """Change the status of one row (or of a queryset), if it is still one that is expected. Returns whether it was.

    The only way in which a status changes: whoever comes second changes nothing, and is told.
    """
    of_one = not isinstance(rows, QuerySet)
    queryset = type(rows)._default_manager.filter(pk=rows.pk) if of_one else rows  # noqa: SLF001 (Django's public name)
    moved = bool(queryset.filter(status__in=expect).update(status=to, **fields))
    if moved and of_one:
        for name, value in {"status": to, **fields}.items():
            setattr(rows, name, value)
    return moved
