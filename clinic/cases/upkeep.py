"""The store's upkeep: change its key, and collect what no row speaks of any more."""

import hashlib
import shutil
import tempfile
import time
from itertools import islice
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import transaction

from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases import files, keyring
from clinic.cases.models import StudyItem
from clinic.cases.sealing import HEAD, MAGIC, Damaged, Sealer, rewrapped

DAY = 24 * 3600
BATCH = 500


def rotate_keys(*, add=True):
    """Seal every file with the ring's first key (a fresh one where the ring is our key file and ``add`` is set).

    Returns (counts, sentences on files that do not open). A file that is plain, from before files were sealed, is
    sealed now. Afterwards no file needs an older key.
    """
    if add and not settings.FILE_KEYS:
        keyring.add_key()
    ring, counts, broken = keyring.ring(), {"rewrapped": 0, "sealed": 0, "current": 0}, []
    for path, address in _all_files():
        try:
            counts[_renew(path, address, ring)] += 1
        except Damaged as damage:
            broken.append(str(damage))
    said = {"what": "files", "key": ring.current, "older": list(ring.keys)[1:], **counts, "damaged": len(broken)}
    with transaction.atomic():
        record(Action.KEY_ROTATE, detail=said)
    return counts, broken


def _all_files():
    """(path, address) of every file of the store."""
    for path in settings.FILES_ROOT.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
        if files.SHA256.fullmatch(path.name):
            yield path, path.name
    for path in (settings.FILES_ROOT / files.CANONICAL).glob("*/*"):
        yield path, files.canonical_address(path.parent.name, path.name)


def _renew(path, address, ring):
    with path.open("rb") as stream:
        head = stream.read(HEAD)
        sealed = head.startswith(MAGIC)
        fresh = rewrapped(head, ring, address) if sealed else None
        if sealed and fresh is None:
            return "current"
        if not sealed:
            stream.seek(0)
        _replace(path, address, stream, fresh, ring)
    return "rewrapped" if sealed else "sealed"


def _replace(path, address, stream, fresh, ring):
    """Write the file anew beside the store, then put it in place whole."""
    with tempfile.NamedTemporaryFile(dir=_room(files.INCOMING), delete=False) as out:
        part = Path(out.name)
        try:
            if fresh:
                out.write(fresh)
                shutil.copyfileobj(stream, out, files.BLOCK)
            else:
                _seal(stream, out, address, ring)
            out.flush()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _seal(stream, out, address, ring):
    sealer, sha256 = Sealer(out), hashlib.sha256()
    while block := stream.read(files.BLOCK):
        sha256.update(block)
        sealer.write(block)
    if files.SHA256.fullmatch(address) and sha256.hexdigest() != address:
        raise Damaged(f"{address} is not what was stored.")
    sealer.close(ring, address)


def _room(name):
    room = settings.FILES_ROOT / name
    room.mkdir(parents=True, exist_ok=True, mode=0o700)
    return room


def collect(*, delete, older_than=DAY):
    """Find files that no row names, older than ``older_than`` seconds (a file is stored just before its row is).

    Every field of any model whose name ends in ``sha256`` counts as naming one. Returns the paths.
    """
    before = time.time() - older_than
    found = [path for path in [*_orphans(), *_forsaken(), *_leftovers()] if path.stat().st_mtime < before]
    if delete and found:
        with transaction.atomic():
            record(Action.FILE_COLLECT, detail={"count": len(found), "files": [path.name for path in found[:BATCH]]})
            for path in found:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def _batches(paths):
    paths = iter(paths)
    return iter(lambda: list(islice(paths, BATCH)), [])


def _orphans():
    columns = [
        (model, field.name)
        for model in apps.get_models()
        for field in model._meta.fields  # noqa: SLF001 (Django's public name)
        if field.name.endswith("sha256")
    ]
    stored = (path for path, address in _all_files() if files.SHA256.fullmatch(address))
    for some in _batches(stored):
        names = {path.name for path in some}
        for model, column in columns:
            names -= set(model.objects.filter(**{f"{column}__in": names}).values_list(column, flat=True))
        yield from (path for path in some if path.name in names)


def _forsaken():
    """What was read from items that are no more."""
    for some in _batches((settings.FILES_ROOT / files.CANONICAL).glob("*")):
        there = set(map(str, StudyItem.objects.filter(pk__in=[p.name for p in some]).values_list("pk", flat=True)))
        yield from (path for path in some if path.name not in there)


def _leftovers():
    """What a killed process left half written, or in the clear."""
    for name in (files.INCOMING, files.WORK):
        yield from (settings.FILES_ROOT / name).glob("*")
