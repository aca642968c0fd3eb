"""Every example of the integrator guide works: it is run, and prints what the guide says."""

import shutil

import pytest

from tests.docs import guide


@pytest.mark.timeout(900)
def test_the_examples(guide_server, tmp_path, subtests):
    """All sections against one server, in their order; each is reported by its title."""
    if missing := [word for word in ("bash", "curl") if not shutil.which(word)]:
        pytest.skip(f"the guide's examples need {', '.join(missing)}, which this machine does not have")
    for number, section in enumerate(guide.sections(guide.GUIDE.read_text("utf-8"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with subtests.test(section.title):
            faults = guide.run(section, folder, guide_server)
            assert not faults, "\n".join(faults)


def run(tmp_path, text):
    (section,) = guide.sections("## A section\n\n" + text)
    return guide.run(section, tmp_path, {})


def test_an_example_that_fails_is_named_by_its_line(tmp_path):
    (fault,) = run(tmp_path, "```python\nx = 1\n```\n\n```python\nassert x == 2, 'x is one'\n```\n")
    assert fault.startswith("line 7: exit 1")
    assert "x is one" in fault
    (fault,) = run(tmp_path, "```bash\ntrue\n```\n```bash\nfalse\necho on\n```\n")
    assert fault.startswith("line 6: exit 1")


def test_another_output_than_the_printed_one_is_a_fault(tmp_path):
    assert run(tmp_path, "```bash\necho one two\n```\n```text\none …\n```\n") == []
    (fault,) = run(tmp_path, "```bash\necho one two\n```\n```text\none three\n```\n")
    assert fault.startswith("line 3 printed")


def test_blocks_that_are_only_shown_are_not_run():
    assert guide.sections("## A\n```bash not-run\nfalse\n```\n```http\nGET /\n```\n") == []
