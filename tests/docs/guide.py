"""The integrator guide as a program: its fenced blocks, section by section, and how they are run.

A `bash` or `python` block is run against a live server; a `text` or `json` block straight after it is what it must
print, where `…` stands for anything. Blocks of one language that follow each other within a section share variables;
all blocks of a section share a folder. `not-run` after the language says that a block is only shown.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "integrators.md"
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
RUN, SHOWN = {"bash", "python"}, {"text", "json"}
MARK = "\x1e"
PYTHON = (
    f"import sys, json\nfor block in json.load(sys.stdin):\n"
    f"    exec(compile(block, 'the guide', 'exec'), globals())\n    print({MARK!r}, flush=True)\n"
)


@dataclass
class Block:
    language: str
    code: str
    line: int
    prints: str | None = None


@dataclass
class Section:
    title: str
    blocks: list[Block] = field(default_factory=list)


def sections(text):
    """The sections of the guide that have something to run."""
    starts = [*HEADING.finditer(text)]
    found = []
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        end = after.start() if after else len(text)
        if blocks := list(_blocks(text, start.end(), end)):
            found.append(Section(start[1], blocks))
    return found


def _blocks(text, start, end):
    last, last_end = None, 0
    for fence in FENCE.finditer(text, start, end):
        language, *words = fence[1].split() or [""]
        line = text.count("\n", 0, fence.start()) + 1
        if language in RUN and "not-run" not in words:
            if last:
                yield last
            last, last_end = Block(language, fence[2], line), fence.end()
        elif language in SHOWN and last and not text[last_end : fence.start()].strip():
            last.prints = fence[2]
    if last:
        yield last


def run(section, folder, env):
    """Run the section's blocks in ``folder``; returns sentences on those that failed or printed something else."""
    faults = []
    for language, group in groupby(section.blocks, key=lambda block: block.language):
        blocks = list(group)
        done = _session(language, [block.code for block in blocks], folder, env)
        printed = done.stdout.split(MARK + "\n")
        for block, said in zip(blocks, printed, strict=False):
            faults += _difference(block, said)
        if done.returncode:
            failed = blocks[min(len(printed), len(blocks)) - 1]
            faults.append(f"line {failed.line}: exit {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
    return faults


def _session(language, codes, folder, env):
    said = {"cwd": folder, "env": _environment(env), "capture_output": True, "text": True, "timeout": 280}
    if language == "python":
        return subprocess.run([sys.executable, "-c", PYTHON], input=json.dumps(codes), check=False, **said)
    script = "".join(f"{code}\nprintf '\\036\\n'\n" for code in codes)
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], check=False, **said)


def _environment(env):
    """Only what the guide names, and the interpreter of the tests under the name ``python``."""
    kept = {name: os.environ[name] for name in ("LANG", "HOME", "TMPDIR") if name in os.environ}
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **env}


def _difference(block, said):
    if block.prints is None:
        return []
    want = block.prints.replace("…", "...")
    if OutputChecker().check_output(want, said, ELLIPSIS | NORMALIZE_WHITESPACE):
        return []
    return [f"line {block.line} printed\n{said}\ninstead of\n{block.prints}"]
