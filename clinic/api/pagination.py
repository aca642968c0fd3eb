from django.core.exceptions import ValidationError
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination


class KeysetPagination(CursorPagination):
    """Pages by position, not by number: page 1000 costs what page 1 does, and a new row shifts nobody's page.

    The order is the view's ``ordering``; its first field decides, so it should be nearly unique.
    """

    page_size_query_param = "limit"
    max_page_size = 200
    cursor_query_description = "Where to go on: taken from `next` or `previous` of the page before."
    page_size_query_description = "How many on a page; at most 200."

    def get_ordering(self, request, queryset, view):  # noqa: ARG002 (REST framework's signature)
        return view.ordering

    def paginate_queryset(self, queryset, request, view=None):
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError):  # a position that is no time and no number: not a cursor of ours
            raise NotFound(self.invalid_cursor_message) from None
