"""How fast expression tables become findings, and in how much memory, each against pandas reading the same file.

python -m bench.genomics_speed [--samples 1000]    writes docs/measured/genomics_speed.json
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ml.cards import table

GENES = 60_666
MEASURED = Path(__file__).resolve().parents[1] / "docs" / "measured" / "genomics_speed.json"
AIMS = {"one sample": (1.0, None), "many samples": (30.0, 2048.0)}


def write_counts(path, samples, genes=GENES, seed=0):
    """A matrix of made-up read counts, genes × samples: the panels' genes as in a synthetic sample, the rest noise."""
    from genomics.synthetic import write_expression  # noqa: PLC0415 (the child that reads with pandas needs none of it)

    one = write_expression(path.with_suffix(".one"), "DUX4-r", seed).read_text("utf-8").splitlines()[2:]
    named = [line.split("\t") for line in one]
    known = {gene.split(".")[0] for gene, _ in named}
    others = (f"ENSG{k:011d}" for k in range(1, 10**6))
    rest = [gene for gene, _ in zip((g for g in others if g not in known), range(genes - len(named)), strict=False)]
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as out:
        out.write("\t".join(["gene_id", *(f"S{k}" for k in range(samples))]) + "\n")
        for gene, reads in [*named, *((gene, 40) for gene in rest)]:
            counts = rng.poisson(float(reads) * rng.gamma(8, 1 / 8, samples))
            out.write(gene + "\t" + "\t".join(map(str, counts)) + "\n")


def answer(path):
    """Read, normalise, predict and explain every sample of ``path``; (samples, wall and processor seconds)."""
    from genomics.batch import answer_file  # noqa: PLC0415
    from ml.bundle import find_bundle, load_bundle  # noqa: PLC0415

    bundle = load_bundle(find_bundle("expression"))
    warm = path.with_name("warm.tsv")
    if warm.is_file():
        answer_file(bundle, warm, {})
    wall, busy = time.perf_counter(), time.process_time()
    said = answer_file(bundle, path, {})
    return len(said.findings), time.perf_counter() - wall, time.process_time() - busy


def read_with_pandas(path):
    import pandas as pd  # noqa: PLC0415

    wall, busy = time.perf_counter(), time.process_time()
    frame = pd.read_csv(path, sep="\t", index_col=0)
    return frame.shape[1], time.perf_counter() - wall, time.process_time() - busy


def in_child(what, path):
    """One measurement in a process of its own, so that its greatest memory is its own."""
    words = [sys.executable, "-m", "bench.genomics_speed", "--child", what, str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    said = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    return json.loads(said.stdout.splitlines()[-1])


def measure(samples):
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        one, many = Path(folder) / "one.tsv", Path(folder) / "many.tsv"
        write_counts(Path(folder) / "warm.tsv", 1, seed=1)
        write_counts(one, 1)
        write_counts(many, samples)
        for name, path in (("one sample", one), ("many samples", many)):
            rows[name] = {"ours": in_child("answer", path), "pandas": in_child("read_with_pandas", path)}
            rows[name]["megabytes"] = path.stat().st_size / 1e6
    return {"genes": GENES, "rows": rows, "cores": os.cpu_count(), "python": platform.python_version()}


def section(said):
    lines = ["## Expression tables: how fast", ""]
    lines += [
        (
            f"{said['genes']:,} genes, synthetic counts; read, normalised, predicted and explained in one process with "
            "one thread, against pandas that reads the same file and does no more. The machine was shared by others: "
            "processor seconds are what the work takes, wall seconds what it took there."
        ),
        "",
    ]
    rows = []
    for name, row in said["rows"].items():
        ours, other, (most, memory) = row["ours"], row["pandas"], AIMS[name]
        aim = f"{most:g} s" + (f", {memory:g} MB" if memory else "")
        rows.append(
            [
                name,
                ours["samples"],
                f"{row['megabytes']:.1f}",
                f"{ours['busy']:.2f}",
                f"{ours['wall']:.2f}",
                f"{ours['memory']:.0f}",
                aim,
                f"{other['busy']:.2f}",
                f"{other['memory']:.0f}",
            ]
        )
    head = (
        "what",
        "samples",
        "file, MB",
        "processor s",
        "wall s",
        "memory, MB",
        "aim",
        "pandas s",
        "pandas memory, MB",
    )
    return [*lines, *table(head, rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--child", nargs=2)
    said = parser.parse_args()
    if said.child:
        what, path = said.child
        samples, wall, busy = {"answer": answer, "read_with_pandas": read_with_pandas}[what](Path(path))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"samples": samples, "wall": wall, "busy": busy, "memory": memory}))
        return
    MEASURED.write_text(json.dumps(measure(said.samples), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
