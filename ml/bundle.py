"""A bundle: weights, preprocessing, labels, calibration, thresholds and card, as one versioned, hashed folder.

``bundle.json`` is the manifest. A bundle loads only if every file has the hash that the manifest names, and nothing is
ever unpickled: weights are safetensors, everything else is JSON or text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUNDLES = Path(__file__).resolve().parent / "bundles"
MANIFEST = "bundle.json"
ALLOWED_SUFFIXES = {".safetensors", ".json", ".txt", ".md", ".csv", ".onnx", ".png"}


class BundleError(Exception):
    """A bundle that is missing, incomplete or changed."""


@dataclass(frozen=True)
class Bundle:
    """One loaded manifest. ``sha256`` is the hash of ``bundle.json``, which in turn names the hash of every file."""

    path: Path
    sha256: str
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        return str(self.manifest["version"])

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.manifest["labels"])

    @property
    def leaves(self) -> dict[str, tuple[str, ...]]:
        """Label → the leaves of the diagnosis tree that it means."""
        return {label: tuple(said["leaves"]) for label, said in self.manifest["labels"].items()}

    @property
    def training_share(self) -> dict[str, float]:
        """Label → its share of the training set (π in the evidence formula)."""
        return {label: float(said["training_share"]) for label, said in self.manifest["labels"].items()}

    def file(self, name: str) -> Path:
        if name not in self.manifest["files"]:
            raise BundleError(f"{self.reference} lists no file {name!r}; it lists {sorted(self.manifest['files'])}")
        return self.path / name

    def read_json(self, name: str) -> Any:
        return json.loads(self.file(name).read_text("utf-8"))


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def find_bundle(name: str, version: str | None = None, root: Path = BUNDLES) -> Path:
    """The folder of a bundle; the newest version where none is named."""
    versions = {folder.name: folder for folder in (root / name).glob("*") if (folder / MANIFEST).is_file()}
    if not versions or (version and version not in versions):
        known = sorted(path.parent.parent.name for path in root.glob(f"*/*/{MANIFEST}"))
        raise BundleError(f"No bundle {name!r} {version or ''} under {root}; there are {sorted(set(known))}")
    return versions[version or max(versions, key=version_key)]


def load_bundle(folder: Path) -> Bundle:
    """Read and verify the bundle in ``folder``. Raises BundleError where a file is missing, added or changed."""
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file():
        raise BundleError(f"{folder} has no {MANIFEST}")
    manifest = json.loads(manifest_path.read_text("utf-8"))
    listed = manifest["files"]
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {MANIFEST}
    if present != set(listed):
        raise BundleError(f"{folder}: files {sorted(present ^ set(listed))} are not as the manifest lists them")
    for name, expected in listed.items():
        if Path(name).suffix not in ALLOWED_SUFFIXES:
            raise BundleError(f"{folder / name}: a bundle may hold only {sorted(ALLOWED_SUFFIXES)} files")
        if sha256_of(folder / name) != expected:
            raise BundleError(
                f"{folder / name}: its SHA-256 is not the one the manifest names; import the bundle again"
            )
    return Bundle(folder, sha256_of(manifest_path), manifest)


def seal_bundle(folder: Path, manifest: dict[str, Any]) -> Bundle:
    """Write ``bundle.json`` for the files now in ``folder`` and load the result."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    manifest = {**manifest, "files": {p.relative_to(folder).as_posix(): sha256_of(p) for p in files}}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    return load_bundle(folder)
