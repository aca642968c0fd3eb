"""``docs/diagnosis_tree.md`` from ``ml/diagnosis_tree.toml`` and the bundles: python -m bench.tree"""

from __future__ import annotations

from pathlib import Path

from ml.bundle import find_bundle, load_bundle
from ml.cards import table
from ml.diagnosis_tree import Node, load_tree
from ml.findings import BUNDLE_OF_MODALITY

TARGET = Path(__file__).resolve().parents[1] / "docs" / "diagnosis_tree.md"
MARKS = {"smear_field": "F", "smear_cell": "C", "expression": "E", "labs": "L"}
HEAD = """\
# The diagnosis tree

Made by `python -m bench.tree` from `ml/diagnosis_tree.toml` and the bundles; a test compares it. Names after WHO 2022
(5th edition) and ICC 2022. Letters say which bundle has a label that includes the node: F smear fields, C single cells,
E expression, L labs. A thick border: a training set has cases with this very diagnosis; a dashed one: the node is only
ever a remainder. Shares are the prior before any result is read.
"""


def page() -> str:
    tree = load_tree()
    bundles = [load_bundle(find_bundle(name)) for name in BUNDLE_OF_MODALITY.values()]
    read_by = ", ".join(f"{MARKS[m]} {bundle.reference}" for m, bundle in zip(BUNDLE_OF_MODALITY, bundles, strict=True))
    parts = [HEAD, f"Tree {tree.version}; read by {read_by}.", "", *_drawn(), "", *_listed(), "", *_elsewhere(), ""]
    parts += ["## Sources", "", *(f"- {name}: {source}" for name, source in tree.sources.items())]
    return "\n".join(parts) + "\n"


def _drawn() -> list[str]:
    tree = load_tree()
    nodes = [f'  {node.id}["{_text(node)}"]' for node in tree.nodes.values()]
    arrows = [f"  {node.parent} --> {node.id}" for node in tree.nodes.values() if node.parent]
    trained = ",".join(node.id for node in tree.nodes.values() if node.trained)
    never = ",".join(node.id for node in tree.nodes.values() if not node.trained)
    styles = [
        "  classDef trained stroke-width:3px",
        "  classDef untrained stroke-dasharray:4 3",
        f"  class {trained} trained",
        f"  class {never} untrained",
    ]
    return ["```mermaid", "flowchart LR", *nodes, *arrows, *styles, "```"]


def _seen(node: Node) -> str:
    return "".join(MARKS[m] for m in node.seen_by) or "–"


def _text(node: Node) -> str:
    return f"{node.name}<br/>{_seen(node)} · {node.prior:.1%}"


def _listed() -> list[str]:
    tree = load_tree()
    rows = [
        (
            "&nbsp;" * 4 * tree.depth(node.id) + node.name,
            f"`{node.id}`",
            _seen(node),
            "yes" if node.trained else "no",
            f"{node.prior:.1%}",
            node.who2022 or "–",
            node.icc2022 or "–",
            ", ".join(f"{system} {code}" for system, code in node.codes.items()) or "–",
        )
        for node in tree.nodes.values()
    ]
    head = ("node", "id", "seen by", "trained", "prior", "WHO 2022", "ICC 2022", "codes of its own")
    return ["## Every node", "", *table(head, rows)]


def _elsewhere() -> list[str]:
    """Entities of either classification that have no node of their own."""
    tree = load_tree()
    rows = [
        (one["name"], tree.nodes[one["falls_under"]].name, one.get("classification", "–"), one.get("why", ""))
        for one in tree.without_node
    ]
    text = "Entities of WHO 2022 or ICC 2022 without a node of their own, and where they are counted:"
    return ["## Without a node", "", text, "", *table(("entity", "counted under", "in", "why"), rows)]


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
