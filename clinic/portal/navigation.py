"""The one list of what stands in the bar, in this order. A page of its own is one line here."""

from typing import NamedTuple


class Entry(NamedTuple):
    """``act``: who may do it somewhere sees the entry; none: everybody. ``covers``: views that belong to it."""

    view: str
    text: str
    act: str = ""
    covers: tuple[str, ...] = ()


CASE = (
    "portal:case",
    "portal:case_images",
    "portal:case_expression",
    "portal:case_labs",
    "portal:case_history",
    "portal:case_audit",
    "portal:viewer",
    "portal:report",
    "portal:patient",
)
NAVIGATION = (
    Entry("portal:worklist", "Worklist", "case.view", covers=CASE),
    Entry("portal:new_case", "New case", "case.create"),
    Entry("exchange:held_results", "Held results", "item.upload", covers=("exchange:held_result",)),
    Entry("portal:models", "Models", covers=("portal:model",)),
    Entry("portal:monitoring", "Monitoring", "monitoring.view", covers=("portal:calibration",)),
    Entry("portal:people", "People", "user.manage", covers=("portal:person", "portal:new_person")),
    Entry("portal:sites", "Sites", "user.manage"),
    Entry("exchange:webhooks", "Webhooks", "user.manage"),
    Entry("safeguards:stop", "Stop", "inference.halt"),
    Entry("portal:audit", "Audit", "audit.view", covers=("portal:audit_case", "portal:audit_patient")),
    Entry("portal:help", "Help"),
)


def entries_for(acts, view_name):
    """What someone who may do ``acts`` sees, and how the entry stands to the open page: itself, its section or not."""
    return [
        (entry, "page" if entry.view == view_name else "true" if view_name in entry.covers else "")
        for entry in NAVIGATION
        if not entry.act or entry.act in acts
    ]
