"""The requirement → test matrix, from the tests' own marks: ``python -m tests.requirements`` writes it."""

import ast
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "security" / "requirements.toml"
TARGET = ROOT / "docs" / "security" / "requirements.md"
HEAD = """# What is required, and the tests that prove it

Written by `python -m tests.requirements` from `requirements.toml` and the marks of the tests. Change those.
"""


def entries():
    return tomllib.loads(TABLE.read_text("utf-8"))


def marked(tests=ROOT / "tests"):
    """Requirement id → "file::test" of every test that carries it, also by its module's ``pytestmark``."""
    found = defaultdict(list)
    for file in sorted(tests.rglob("test_*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        of_module = _ids_of_module(tree)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for said in {*of_module, *(i for one in node.decorator_list for i in _ids(one))}:
                    found[said].append(f"{file.relative_to(ROOT)}::{node.name}")
    return found


def _ids_of_module(tree):
    marks = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "pytestmark"]
    each = [one for value in marks for one in (value.elts if isinstance(value, ast.List) else [value])]
    return [said for one in each for said in _ids(one)]


def _ids(node):
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement":
        return [ast.literal_eval(arg) for arg in node.args]
    return []


def page():
    tests, lines = marked(), [HEAD]
    for key, said in entries().items():
        of = f" (of {said['of']})" if "of" in said else ""
        lines.append(f"## {key} · {said['kind']}{of}\n\n{said['text']}\n")
        if said["kind"] == "hazard":
            answers = [other for other, one in entries().items() if one.get("of") == key]
            lines.append(f"Answered by {', '.join(answers)}.\n")
        lines += [f"- [`{name.split('::')[1]}`](../../{name.split('::')[0]})" for name in sorted(tests[key])]
        lines += [""] if tests[key] else []
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
