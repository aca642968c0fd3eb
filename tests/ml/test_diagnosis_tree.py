from __future__ import annotations

import copy
import re
import subprocess
import sys
import tomllib

import pytest

from ml.diagnosis_tree import TREE_FILE, TreeError, load_tree, parse_tree

TREE = load_tree()
SAID = tomllib.loads(TREE_FILE.read_text("utf-8"))


def test_every_leaf_is_under_the_root_once_and_priors_add_up():
    assert TREE.leaves_under(TREE.root) == TREE.leaves
    assert len(set(TREE.leaves)) == len(TREE.leaves)
    assert sum(TREE.prior.values()) == pytest.approx(1, abs=1e-12)
    for node in TREE.nodes.values():
        assert node.prior == pytest.approx(sum(TREE.prior[leaf] for leaf in TREE.leaves_under(node.id)))


def test_children_split_their_parent_without_rest_or_overlap():
    for id_ in TREE.nodes:
        if children := TREE.children(id_):
            under = [leaf for child in children for leaf in TREE.leaves_under(child)]
            assert sorted(under) == sorted(TREE.leaves_under(id_))
            assert {TREE.parent(child) for child in children} == {id_}


def test_codes_have_the_form_of_their_system():
    forms = {"icd_o_3": r"9[5-9]\d\d/3", "icd_10": r"[CD]\d\d\.\d", "snomed_ct": r"\d{6,18}"}
    coded = [(node.id, system, code) for node in TREE.nodes.values() for system, code in node.codes.items()]
    assert len(coded) > 25
    assert [said for said in coded if not re.fullmatch(forms[said[1]], said[2])] == []


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["b_all_etv6_runx1", "b_all_etv6_runx1_like"], "b_all_etv6"),
        (["b_all_etv6_runx1", "t_all_etp"], "all"),
        (["apl", "haematogones"], "any"),
        (["b_all", "b_all_ph"], "b_all"),
        (["apl"], "apl"),
    ],
)
def test_lowest_common_ancestor(ids, expected):
    assert TREE.lowest_common_ancestor(ids) == expected
    assert TREE.lowest_common_ancestor(reversed(ids)) == expected


def test_lowest_common_ancestor_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no node"):
        TREE.lowest_common_ancestor([])


def test_a_code_is_the_nodes_own_or_that_of_the_nearest_above():
    assert TREE.code_of("apl", "icd_10") == ("C92.4", True)
    assert TREE.code_of("aml_npm1", "icd_10") == ("C92.0", False)
    assert TREE.code_of("b_all_dux4", "icd_o_3") == ("9835/3", False)
    assert TREE.code_of("no_leukaemia", "icd_10") is None


def test_every_entity_without_a_node_is_counted_somewhere():
    assert len(TREE.without_node) >= 10
    assert all(one["falls_under"] in TREE.nodes and one["classification"] for one in TREE.without_node)


def test_the_page_that_draws_the_tree_is_of_this_tree():
    from bench import tree

    assert tree.TARGET.read_text("utf-8") == tree.page(), "run: python -m bench.tree"


def test_paths_and_depths():
    assert TREE.path("apl") == ("any", "acute_leukaemia", "aml", "apl")
    assert TREE.depth("any") == 0
    assert TREE.depth("b_all_etv6_runx1") == 5
    assert TREE.leaves_under("aml_cbf") == ("aml_runx1_runx1t1", "aml_cbfb_myh11")


def test_what_a_group_is_seen_by_and_trained_on_comes_from_its_leaves():
    assert TREE.nodes["all"].seen_by == ("smear_field", "expression", "labs")
    assert TREE.nodes["t_all"].seen_by == ("expression", "labs")
    assert TREE.nodes["mpal"].seen_by == ()
    assert not TREE.nodes["mpal"].trained
    assert TREE.nodes["b_all_aneuploid"].trained


def break_entry(index, **changes):
    said = copy.deepcopy(SAID)
    said["node"][index] = {k: v for k, v in {**said["node"][index], **changes}.items() if v is not None}
    return said


LEAF = next(i for i, entry in enumerate(SAID["node"]) if entry["id"] == "apl")
GROUP = next(i for i, entry in enumerate(SAID["node"]) if entry["id"] == "aml_cbf")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (break_entry(LEAF, parent="nowhere"), "apl: its parent 'nowhere'"),
        (break_entry(LEAF, id="aml_cbf", parent="aml_cbf"), "aml_cbf: its parent 'aml_cbf'"),
        (break_entry(LEAF, id="all"), "all: this id is given twice"),
        (break_entry(GROUP, parent="aml_runx1_runx1t1"), "aml_cbf: its parent 'aml_runx1_runx1t1'"),
        (break_entry(LEAF, parent=None), "apl: the first node, and only the first"),
        (break_entry(0, parent="all"), "any: the first node, and only the first"),
        (break_entry(LEAF, prior=0.5), "sum to 1"),
        (break_entry(LEAF, prior=0.0), "above 0"),
        (break_entry(LEAF, prior=None), r"apl: a leaf needs \['prior'\]"),
        (break_entry(GROUP, prior=0.1), "aml_cbf: .*belong to leaves"),
        (break_entry(LEAF, seen_by=["eyes"]), "apl: unknown modalities"),
        (break_entry(LEAF, codes={"icd_9": "205.0"}), "apl: unknown code systems"),
        ({**SAID, "without_node": [{"name": "X", "falls_under": "nowhere"}]}, "counted under a node"),
        (break_entry(GROUP + 2, parent="aml"), "aml_cbf: a group of one"),
    ],
)
def test_a_tree_that_contradicts_itself_is_refused(said, complaint):
    with pytest.raises(TreeError, match=complaint):
        parse_tree(said)


def test_the_web_process_gets_the_tree_without_the_numeric_stack():
    code = "import sys, ml.diagnosis_tree as d; d.load_tree(); print({'numpy', 'torch', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
