"""NCI Genomic Data Commons: the open STAR counts of a project (TCGA-LAML, TARGET-ALL-P2 …) and its clinical data.

https://docs.gdc.cancer.gov/API/Users_Guide: ``files`` and ``cases`` are asked page by page, ``data`` gives a file by
its id, ``status`` the data release.
"""

from __future__ import annotations

import csv
import gzip
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import numpy as np
from tqdm import tqdm

from genomics.packed import read_bytes
from genomics.sources.download import Remote, ask, fetch_all
from ml.findings import InputRejected

API = "https://api.gdc.cancer.gov"
PROJECTS = ("TCGA-LAML", "TARGET-ALL-P2")  # those that the models are about; any other is taken too
PAGE = 500
FILE_FIELDS = (
    "file_id,file_name,file_size,md5sum,cases.submitter_id,cases.samples.submitter_id,cases.samples.sample_type"
)
CASE_FIELDS = {
    "sex": ("demographic.gender", "demographic.sex_at_birth"),
    "vital_status": ("demographic.vital_status",),
    "days_to_death": ("demographic.days_to_death",),
    "age_at_diagnosis_days": ("diagnoses.age_at_diagnosis",),
    "primary_diagnosis": ("diagnoses.primary_diagnosis",),
    "morphology": ("diagnoses.morphology",),
    "days_to_last_follow_up": ("diagnoses.days_to_last_follow_up",),
}
PRIMARY = "diagnosis_is_primary_disease"
COUNTS = "counts.tsv.gz"

Sleep = Callable[[float], None]


@dataclass(frozen=True)
class GdcFile:
    """One file of counts. ``sample`` is unique within a project."""

    file_id: str
    file_name: str
    size: int
    md5: str
    case: str
    sample: str
    sample_type: str

    @property
    def path(self) -> str:
        return f"files/{self.file_id}/{self.file_name}"


def fetch_project(
    client: httpx.Client,
    project: str,
    out: Path,
    *,
    api: str = API,
    limit: int | None = None,
    sleep: Sleep = time.sleep,
) -> dict[str, Any]:
    """Fetch ``project`` to ``out`` and put it together; call it again to go on or to bring it up to date.

    Written: ``files/ID/NAME`` (checked against GDC's MD5), ``files.tsv``, ``clinical.tsv`` (a row a case),
    ``counts.tsv.gz`` (genes × samples, unstranded reads) and ``source.json``, which is returned. ``limit``: only the
    first so many files. Raises InputRejected as ``fetch_all``, and unknown_project, bad_answer, different_genes.
    """
    files = list_files(client, project, api=api, sleep=sleep)[:limit]
    out.mkdir(parents=True, exist_ok=True)
    _write_table(out / "files.tsv", [asdict(file) for file in files])
    cases = list_cases(client, project, api=api, sleep=sleep)
    _write_table(out / "clinical.tsv", cases)
    remotes = [Remote(f"{api}/data/{file.file_id}", file.path, file.size, file.md5) for file in files]
    paths = fetch_all(client, remotes, out, what=f"GDC {project}", sleep=sleep)
    genes = write_counts({file.sample: path for file, path in zip(files, paths, strict=True)}, out / COUNTS)
    release = _json(ask(client, f"{api}/status", sleep=sleep), f"{api}/status").get("data_release", "")
    said = {
        "source": api,
        "project": project,
        "release": release,
        "fetched": time.strftime("%Y-%m-%d"),
        "files": len(files),
        "cases": len(cases),
        "genes": genes,
    }
    (out / "source.json").write_text(json.dumps(said, indent=1), "utf-8")
    return said


def list_files(client: httpx.Client, project: str, *, api: str = API, sleep: Sleep = time.sleep) -> list[GdcFile]:
    """The open files of STAR counts of ``project``, in the order of their ids."""
    wanted = {
        "cases.project.project_id": project,
        "analysis.workflow_type": "STAR - Counts",
        "data_type": "Gene Expression Quantification",
        "access": "open",
    }
    hits = list(_pages(client, f"{api}/files", wanted, FILE_FIELDS, "file_id", sleep))
    if not hits:
        raise InputRejected(
            "unknown_project",
            place=f"project {project}",
            problem="GDC has no open STAR counts of this project.",
            remedy=f"Name one that it has, such as {' or '.join(PROJECTS)}.",
        )
    try:
        return _named_once([_file(hit) for hit in hits])
    except (KeyError, IndexError, TypeError, ValueError) as broken:
        raise _bad_answer(f"{api}/files", f"a file without {broken}") from broken


def _file(hit: dict[str, Any]) -> GdcFile:
    case = hit["cases"][0]
    sample = case["samples"][0]
    return GdcFile(
        file_id=hit["file_id"],
        file_name=PurePosixPath(hit["file_name"]).name,
        size=int(hit["file_size"]),
        md5=hit["md5sum"],
        case=case["submitter_id"],
        sample=sample["submitter_id"],
        sample_type=sample.get("sample_type", ""),
    )


def _named_once(files: list[GdcFile]) -> list[GdcFile]:
    """A sample that was sequenced twice is told apart by the beginning of the file's id."""
    uses = Counter(file.sample for file in files)
    return [
        GdcFile(**asdict(file) | {"sample": f"{file.sample}_{file.file_id[:8]}"}) if uses[file.sample] > 1 else file
        for file in files
    ]


def list_cases(
    client: httpx.Client, project: str, *, api: str = API, sleep: Sleep = time.sleep
) -> list[dict[str, str]]:
    """What is known of each case: a row with ``case`` and the columns of CASE_FIELDS, "" where GDC does not know."""
    fields = ",".join(["submitter_id", f"diagnoses.{PRIMARY}", *(f for of in CASE_FIELDS.values() for f in of)])
    hits = _pages(client, f"{api}/cases", {"project.project_id": project}, fields, "submitter_id", sleep)
    return [_case(hit) for hit in hits]


def _case(hit: dict[str, Any]) -> dict[str, str]:
    """Of several diagnoses the primary one, else the first."""
    diagnoses = hit.get("diagnoses") or [{}]
    chosen = next((d for d in diagnoses if str(d.get(PRIMARY)).lower() == "true"), diagnoses[0])
    parts = {"demographic": hit.get("demographic") or {}, "diagnoses": chosen}
    row = {"case": str(hit.get("submitter_id", ""))}
    for column, fields in CASE_FIELDS.items():
        values = (parts[part].get(name) for part, _, name in (field.partition(".") for field in fields))
        row[column] = str(next((value for value in values if value not in (None, "")), ""))
    return row


def _pages(
    client: httpx.Client, url: str, wanted: dict[str, str], fields: str, order: str, sleep: Sleep
) -> Iterator[dict[str, Any]]:
    content = [{"op": "in", "content": {"field": field, "value": [value]}} for field, value in wanted.items()]
    start, total = 0, 1
    while start < total:
        body = {
            "filters": {"op": "and", "content": content},
            "fields": fields,
            "format": "JSON",
            "sort": f"{order}:asc",
            "size": PAGE,
            "from": start,
        }
        data = _json(ask(client, url, body=body, sleep=sleep), url).get("data", {})
        try:
            hits, total = data["hits"], int(data["pagination"]["total"])
        except (KeyError, TypeError, ValueError) as broken:
            raise _bad_answer(url, f"no {broken}") from broken
        if not hits and start < total:
            raise _bad_answer(url, f"{start} of {total} entries, and no more")
        yield from hits
        start += len(hits)


def _json(response: httpx.Response, url: str) -> dict[str, Any]:
    try:
        said = response.json()
    except ValueError as broken:
        raise _bad_answer(url, "no JSON") from broken
    if not isinstance(said, dict):
        raise _bad_answer(url, "no JSON object")
    return said


def _bad_answer(url: str, what: str) -> InputRejected:
    return InputRejected(
        "bad_answer",
        place=url,
        problem=f"The server's answer is not as documented ({what}).",
        remedy="Check the address; try again later.",
    )


# --- putting together -------------------------------------------------------------------------------------------------


def write_counts(paths: dict[str, Path], target: Path) -> int:
    """Sample → STAR counts file: one table of genes × samples (unstranded reads) at ``target``; the number of genes.

    Raises InputRejected (different_genes, bad_counts). Memory: 4 bytes a value, twice.
    """
    genes: list[str] = []
    columns = []
    for sample, path in tqdm(paths.items(), desc="together", unit="file"):
        named, reads = read_counts(path)
        if genes and named != genes:
            raise InputRejected(
                "different_genes",
                place=f"{path.name} ({sample})",
                problem=f"It has other genes ({len(named):,}) than the files before it ({len(genes):,}).",
                remedy="Fetch to an empty folder: these are files of two data releases.",
            )
        genes = named
        columns.append(reads)
    matrix = np.column_stack(columns)
    new = target.with_name(f"{target.name}.new")
    with new.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        packed.write(("\t".join(["gene_id", *paths]) + "\n").encode())
        for gene, row in zip(genes, matrix, strict=True):
            packed.write(f"{gene}\t{chr(9).join(map(str, row.tolist()))}\n".encode())
    new.replace(target)
    return len(genes)


def read_counts(path: Path) -> tuple[list[str], np.ndarray[Any, np.dtype[np.int32]]]:
    """(gene ids, unstranded reads (g,)) of one of GDC's ``augmented_star_gene_counts.tsv``."""
    lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    rows = ((number, line.split("\t")) for number, line in enumerate(lines, start=1) if not line.startswith("#"))
    number, genes, counts = 1, [], []
    try:
        header = next(rows, (1, [""]))[1]
        gene, reads = header.index("gene_id"), header.index("unstranded")
        for number, cells in rows:  # noqa: B007 (the place of a fault)
            if not cells[gene].startswith("N_"):
                genes.append(cells[gene])
                counts.append(int(cells[reads]))
    except (IndexError, ValueError) as broken:
        raise InputRejected(
            "bad_counts",
            place=f"{path.name}, line {number}",
            problem=f"These are no STAR counts of GDC ({broken}).",
            remedy="Fetch it again.",
        ) from broken
    return genes, np.array(counts, dtype=np.int32)


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        said = csv.DictWriter(stream, list(rows[0]) if rows else ["case"], delimiter="\t", lineterminator="\n")
        said.writeheader()
        said.writerows(rows)
