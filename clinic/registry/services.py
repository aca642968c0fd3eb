"""Which model bundles the clinic knows, and which of them speak."""

from pathlib import Path

from django.conf import settings
from django.db import transaction

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases.moves import move
from clinic.errors import Conflict
from clinic.registry.models import BundleStatus, ModelBundle
from ml.bundle import MANIFEST, BundleError, load_bundle, sha256_of, version_key
from ml.findings import BUNDLE_OF_MODALITY

SHADOWABLE = {*BUNDLE_OF_MODALITY.values(), "fusion"}


def sync_bundles(by=None):
    """Know every bundle under the settings' roots; where none of a name is active, activate its newest version.

    An active bundle whose folder is gone or changed stands down first. Returns (bundles that are there, sentences on
    folders that are broken); a second call changes nothing.
    """
    for bundle in ModelBundle.objects.filter(status=BundleStatus.ACTIVE):
        if not _is_there(bundle):
            _stand_down(bundle)
    found, broken = [], []
    for folder in _folders():
        try:
            found.append(import_bundle(folder=folder, by=by))
        except BundleError as error:
            broken.append(str(error))
    active = set(ModelBundle.objects.filter(status=BundleStatus.ACTIVE).values_list("name", flat=True))
    for name in {bundle.name for bundle in found} - active:
        candidates = [b for b in found if b.name == name and b.status == BundleStatus.IMPORTED]
        if candidates:
            activate(bundle=max(candidates, key=lambda bundle: version_key(bundle.version)))
    return found, broken


@transaction.atomic
def _stand_down(bundle):
    if move(bundle, expect=[BundleStatus.ACTIVE], to=BundleStatus.IMPORTED):
        why = "its folder is gone or changed"
        record(Action.BUNDLE_RETIRE, obj=bundle, detail={"bundle": bundle.reference, "reason": why})


@transaction.atomic
def import_bundle(*, folder, by=None):
    """Check the bundle in ``folder`` against its own hashes and know it. Raises BundleError."""
    if by:
        require(by, "model.manage")
    said = load_bundle(folder)
    known = ModelBundle.objects.filter(sha256=said.sha256).first()
    if known is None:
        known = ModelBundle.objects.create(
            name=said.name,
            version=said.version,
            sha256=said.sha256,
            path=str(folder),
            manifest=said.manifest,
            imported_by=by,
        )
        record(Action.BUNDLE_IMPORT, by=by, obj=known, detail={"bundle": known.reference, "sha256": known.sha256})
    elif not _is_there(known):
        known.path = str(folder)
        known.save(update_fields=["path"])
        record(Action.BUNDLE_IMPORT, by=by, obj=known, detail={"bundle": known.reference, "moved": True})
    return known


@transaction.atomic
def activate(*, bundle, by=None):
    """Let this bundle speak from the next analysis on, in place of the one of its name that did."""
    if by:
        require(by, "model.manage")
    if not _is_there(bundle):
        raise Conflict("bundle_missing", f"The files of {bundle.reference} are gone or changed.", "Import it again.")
    before = ModelBundle.objects.filter(name=bundle.name, status=BundleStatus.ACTIVE).exclude(pk=bundle.pk).first()
    if before:
        move(before, expect=[BundleStatus.ACTIVE], to=BundleStatus.IMPORTED)
    others = [BundleStatus.IMPORTED, BundleStatus.SHADOW, BundleStatus.RETIRED]
    if move(bundle, expect=others, to=BundleStatus.ACTIVE):
        said = {"bundle": bundle.reference, "in place of": before.reference if before else ""}
        record(Action.BUNDLE_ACTIVATE, by=by, obj=bundle, detail=said)
    return bundle


@transaction.atomic
def shadow(*, bundle, by=None):
    """Let this bundle read along from the next analysis on: its results are stored and compared, never shown."""
    if by:
        require(by, "model.manage")
    if not _is_there(bundle):
        raise Conflict("bundle_missing", f"The files of {bundle.reference} are gone or changed.", "Import it again.")
    if bundle.name not in SHADOWABLE:
        problem = f"A bundle called {bundle.name} takes no part in an assessment."
        raise Conflict("no_shadow", problem, "Only a modality's bundle or the fusion can read along.", place="bundle")
    before = ModelBundle.objects.filter(name=bundle.name, status=BundleStatus.SHADOW).exclude(pk=bundle.pk).first()
    if before:
        move(before, expect=[BundleStatus.SHADOW], to=BundleStatus.IMPORTED)
    if not move(bundle, expect=[BundleStatus.IMPORTED, BundleStatus.RETIRED], to=BundleStatus.SHADOW):
        problem = f"{bundle.reference} is {bundle.status}; what speaks cannot read along at the same time."
        raise Conflict("not_idle", problem, "Activate another version first.", place="bundle")
    said = {"bundle": bundle.reference, "in place of": before.reference if before else ""}
    record(Action.BUNDLE_SHADOW, by=by, obj=bundle, detail=said)
    return bundle


@transaction.atomic
def retire(*, bundle, reason, by=None):
    if by:
        require(by, "model.manage")
    standing = [BundleStatus.IMPORTED, BundleStatus.ACTIVE, BundleStatus.SHADOW]
    if move(bundle, expect=standing, to=BundleStatus.RETIRED):
        record(Action.BUNDLE_RETIRE, by=by, obj=bundle, detail={"bundle": bundle.reference, "reason": reason})
    return bundle


def _folders():
    for root in settings.BUNDLE_ROOTS:
        yield from sorted(manifest.parent for manifest in Path(root).glob(f"*/*/{MANIFEST}"))


def _is_there(bundle):
    manifest = Path(bundle.path) / MANIFEST
    return manifest.is_file() and sha256_of(manifest) == bundle.sha256
