"""All samples of one file, each answered alone; what is wrong with one of them says nothing of the others."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomics import expression, labs
from genomics.labs.site import Site
from ml.bundle import Bundle
from ml.findings import Finding, InputRejected


@dataclass(frozen=True)
class Answered:
    """(sample, finding) in file order, and the faults of the samples that were refused."""

    findings: list[tuple[str, Finding]]
    refused: list[InputRejected]


def answer_file(bundle: Bundle, source: Path, options: dict[str, Any], site: Site | None = None) -> Answered:
    """What ``bundle`` says of each sample of ``source``. InputRejected where the file as a whole cannot be read.

    ``options`` are those of the reader of the bundle's modality; ``site`` recalibrates labs.
    """
    if not source.is_file():
        what = "This is a folder, not a file." if source.is_dir() else "There is no such file."
        raise InputRejected("missing_file", place=str(source), problem=what, remedy="Check the path.")
    with tempfile.TemporaryDirectory() as folder:
        target, asked = Path(folder), {"many": True, "keep_going": True, **options}
        if bundle.name == "expression":
            said = expression.canonicalise(source, target, asked)
            table = expression.load_canonical(target)
            findings = [(name, expression.predict(table.only(name), bundle)) for name in table.samples]
        else:
            said = labs.canonicalise(source, target, asked)
            panels = labs.load_canonical(target)
            findings = [(name, labs.predict(panels.only(name), bundle, site=site)) for name in panels.ids]
    refused = [{key: text for key, text in fault.items() if key != "sample"} for fault in said["refused"]]
    return Answered(findings, [InputRejected(fault.pop("code"), **fault) for fault in refused])
