"""The matrix of requirements is that of the tests' marks, and it has no hole."""

from tests.requirements import TARGET, entries, marked, page


def test_the_matrix_is_up_to_date():
    assert TARGET.read_text("utf-8") == page(), "run: python -m tests.requirements"


def test_every_use_and_mitigation_is_proved_and_every_hazard_answered():
    known, tests = entries(), marked()
    assert set(tests) <= set(known), "a mark names no entry"
    assert [key for key, said in known.items() if said["kind"] != "hazard" and not tests[key]] == []
    answered = {said["of"] for said in known.values() if "of" in said}
    assert answered == {key for key, said in known.items() if said["kind"] == "hazard"}
