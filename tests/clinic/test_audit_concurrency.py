"""Many writers at once: no fork, no gap, on whichever database the suite runs."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, transaction

from clinic.audit.models import Action, AuditEvent
from clinic.audit.services import record, verify

WRITERS, EACH = 20, 5


@pytest.mark.django_db(transaction=True)
def test_twenty_writers_make_one_chain():
    start = Barrier(WRITERS)

    def write(writer):
        try:
            start.wait(timeout=30)
            for n in range(EACH):
                with transaction.atomic():
                    record(Action.CASE_SEARCH, detail={"writer": writer, "n": n})
        finally:
            connection.close()

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    result = verify()
    assert (result.ok, result.count) == (True, WRITERS * EACH)
    assert AuditEvent.objects.values("prev_hash").distinct().count() == WRITERS * EACH


@pytest.mark.django_db(transaction=True)
def test_writers_that_give_up_leave_no_gap():
    def write(writer):
        try:
            with transaction.atomic():
                record(Action.CASE_SEARCH, detail={"writer": writer})
                if writer % 2:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    assert verify().count == WRITERS // 2
    assert verify().ok
