"""What one event looks like, and how it is tied to the one before it. Pure: no database."""

import hashlib
import json
from datetime import datetime

GENESIS = "0" * 64  # what the first event has before it


def hash_of(body):
    """SHA-256 of the body exactly as stored; the body itself holds the hash of the event before."""
    return hashlib.sha256(body.encode()).hexdigest()


def columns_of(said):
    """The searchable copies of what the body (as a dict) says."""
    return {
        "seq": said["seq"],
        "at": datetime.fromisoformat(said["at"]),
        "actor_id": said["actor"]["id"],
        "actor": said["actor"]["name"],
        "action": said["action"],
        "outcome": said["outcome"],
        "object_type": said["object"]["type"],
        "object_id": said["object"]["id"],
        "patient_id": said["patient"],
        "case_id": said["case"],
        "site_id": said["site"],
        "prev_hash": said["prev_hash"],
    }


def fault_in(event, *, seq, prev_hash):
    """Why ``event`` cannot be the one at ``seq`` after ``prev_hash``; empty where it can."""
    if event.seq != seq:
        return f"the event is missing; the next one there is has number {event.seq}"
    if hash_of(event.body) != event.hash:
        return "its text does not have the hash that stands beside it"
    if event.prev_hash != prev_hash:
        return "it does not follow the event before it"
    try:
        columns = columns_of(json.loads(event.body))
    except (ValueError, KeyError, TypeError):
        return "its text is not that of an event"
    changed = [name for name, value in columns.items() if getattr(event, name) != value]
    return f"the columns {', '.join(changed)} differ from its text" if changed else ""
