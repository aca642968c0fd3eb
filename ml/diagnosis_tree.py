"""The diagnosis tree: which diagnoses there are, how they nest, how they are coded, and who can see them.

Light on purpose (standard library only): the web process imports it. The data is in ``diagnosis_tree.toml``.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.findings import MODALITIES

if TYPE_CHECKING:
    from collections.abc import Iterable

TREE_FILE = Path(__file__).with_name("diagnosis_tree.toml")
CODE_SYSTEMS = ("icd_o_3", "icd_10", "snomed_ct")
LEAF_KEYS = {"seen_by", "trained", "prior"}


class TreeError(Exception):
    """The tree file contradicts itself."""


@dataclass(frozen=True)
class Node:
    """One diagnosis. The file gives ``seen_by``, ``trained``, ``prior`` of leaves; a group has its leaves'."""

    id: str
    name: str
    parent: str | None = None
    who2022: str | None = None
    icc2022: str | None = None
    codes: dict[str, str] = field(default_factory=dict)
    seen_by: tuple[str, ...] = ()
    trained: bool = False
    prior: float = 0.0


@dataclass(frozen=True)
class Tree:
    """The nodes by id, every parent before its children. A question with an unknown id raises KeyError.

    ``without_node``: entities of the classifications that have no node of their own, and the node that counts them.
    """

    version: str
    sources: dict[str, str]
    nodes: dict[str, Node]
    without_node: tuple[dict[str, str], ...] = ()

    @cached_property
    def root(self) -> str:
        return next(iter(self.nodes))

    @cached_property
    def _children(self) -> dict[str, tuple[str, ...]]:
        of: dict[str, list[str]] = {id_: [] for id_ in self.nodes}
        for node in self.nodes.values():
            if node.parent is not None:
                of[node.parent].append(node.id)
        return {id_: tuple(ids) for id_, ids in of.items()}

    @cached_property
    def _leaves_under(self) -> dict[str, tuple[str, ...]]:
        return {id_: tuple(leaf for leaf in self.leaves if id_ in self.path(leaf)) for id_ in self.nodes}

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        return tuple(id_ for id_, children in self._children.items() if not children)

    @cached_property
    def prior(self) -> dict[str, float]:
        """Leaf → its share before any result is read; sums to 1."""
        return {leaf: self.nodes[leaf].prior for leaf in self.leaves}

    def parent(self, id_: str) -> str | None:
        return self.nodes[id_].parent

    def children(self, id_: str) -> tuple[str, ...]:
        return self._children[id_]

    def path(self, id_: str) -> tuple[str, ...]:
        """From the root down to ``id_``, both included."""
        parent = self.nodes[id_].parent
        return (id_,) if parent is None else (*self.path(parent), id_)

    def depth(self, id_: str) -> int:
        """0 for the root."""
        return len(self.path(id_)) - 1

    def leaves_under(self, id_: str) -> tuple[str, ...]:
        """The leaves of this node, in the tree's order; a leaf is under itself."""
        return self._leaves_under[id_]

    def code_of(self, id_: str, system: str) -> tuple[str, bool] | None:
        """The node's code, or that of the nearest node above it that has one; with whether it is the node's own."""
        for node in reversed(self.path(id_)):
            if code := self.nodes[node].codes.get(system):
                return code, node == id_
        return None

    def lowest_common_ancestor(self, ids: Iterable[str]) -> str:
        """The deepest node that has all of ``ids`` under it (or is one of them). ValueError where ``ids`` is empty."""
        paths = [self.path(id_) for id_ in ids]
        if not paths:
            raise ValueError("The lowest common ancestor of no node is undefined")
        shared = [level[0] for level in zip(*paths, strict=False) if len(set(level)) == 1]
        return shared[-1]


@lru_cache(maxsize=1)
def load_tree() -> Tree:
    """The product's tree, read and checked once per process."""
    return parse_tree(tomllib.loads(TREE_FILE.read_text("utf-8")))


def parse_tree(said: dict[str, Any]) -> Tree:
    """Build and check a tree from the file's form. Raises TreeError, naming the node and the rule it breaks."""
    nodes: dict[str, Node] = {}
    for entry in said["node"]:
        node = Node(**{**entry, "seen_by": tuple(entry.get("seen_by", ()))})
        _check_place(node, nodes)
        nodes[node.id] = node
    without = tuple(said.get("without_node", ()))
    tree = Tree(said["version"], said["sources"], nodes, without)
    _check_leaves(tree, {entry["id"]: entry for entry in said["node"]})
    if lost := [one["name"] for one in without if one["falls_under"] not in nodes]:
        raise TreeError(f"{lost}: counted under a node that does not exist")
    return Tree(tree.version, tree.sources, {id_: _of_its_leaves(tree, id_) for id_ in nodes}, without)


def _check_place(node: Node, above: dict[str, Node]) -> None:
    """A parent must come before its children: this also makes cycles impossible."""
    if node.id in above:
        raise TreeError(f"{node.id}: this id is given twice")
    if (node.parent is None) != (not above):
        raise TreeError(f"{node.id}: the first node, and only the first, has no parent")
    if node.parent is not None and node.parent not in above:
        raise TreeError(f"{node.id}: its parent {node.parent!r} is not among the nodes before it")
    if unknown := sorted(set(node.codes) - set(CODE_SYSTEMS)):
        raise TreeError(f"{node.id}: unknown code systems {unknown}")
    if unknown := sorted(set(node.seen_by) - set(MODALITIES)):
        raise TreeError(f"{node.id}: unknown modalities {unknown}")


def _check_leaves(tree: Tree, entries: dict[str, dict[str, Any]]) -> None:
    for id_, entry in entries.items():
        is_leaf = not tree.children(id_)
        if is_leaf and (missing := LEAF_KEYS - entry.keys()):
            raise TreeError(f"{id_}: a leaf needs {sorted(missing)}")
        if not is_leaf and (extra := LEAF_KEYS & entry.keys()):
            raise TreeError(f"{id_}: {sorted(extra)} belong to leaves, this node has children")
        if len(tree.children(id_)) == 1:
            raise TreeError(f"{id_}: a group of one is its only child")
    if min(tree.prior.values()) <= 0 or abs(sum(tree.prior.values()) - 1) > 1e-9:
        raise TreeError(f"Priors must be above 0 and sum to 1; they sum to {sum(tree.prior.values())}")


def _of_its_leaves(tree: Tree, id_: str) -> Node:
    node, leaves = tree.nodes[id_], [tree.nodes[leaf] for leaf in tree.leaves_under(id_)]
    seen_by = tuple(m for m in MODALITIES if any(m in leaf.seen_by for leaf in leaves))
    return Node(
        id=node.id,
        name=node.name,
        parent=node.parent,
        who2022=node.who2022,
        icc2022=node.icc2022,
        codes=node.codes,
        seen_by=seen_by,
        trained=any(leaf.trained for leaf in leaves),
        prior=sum(leaf.prior for leaf in leaves),
    )
