"""``manage.py assess``: the whole job by the shipped models, without a server."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from PIL import Image

from clinic.audit.models import Action, AuditEvent
from clinic.audit.verification import verify
from clinic.registry.services import sync_bundles
from genomics import synthetic as tables
from ml import smear, synthetic
from workers import modalities

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
KEYS = {"status", "answer", "prediction_set", "probabilities", "findings", "discordance", "reasons"}


@pytest.fixture(autouse=True)
def bundles():
    sync_bundles()


@pytest.fixture
def case(tmp_path):
    """A synthetic child with ETV6::RUNX1, as options of the command."""
    images = synthetic.write_case(tmp_path / "fields", "Pre-B", 3, 1)
    tables.write_expression(tmp_path / "counts.tsv", "ETV6::RUNX1", 1)
    tables.write_labs(tmp_path / "labs.csv", "ALL", 1)
    return [
        *("--image", *map(str, images)),
        *("--expression", str(tmp_path / "counts.tsv")),
        *("--labs", str(tmp_path / "labs.csv")),
    ]


def assess(capsys, *words):
    call_command("assess", *words, "--json")
    return json.loads(capsys.readouterr().out)


@pytest.mark.requirement("U-1")
def test_one_json_object_with_every_modality_and_one_answer(case, capsys):
    said = assess(capsys, *case)
    assert set(said) >= KEYS
    assert said["status"] == "assessed"
    assert said["answer"]["node"] == "b_all_etv6_runx1"
    assert 0.5 < said["answer"]["probability"] <= 1
    assert said["answer"]["node"] in said["prediction_set"]
    assert [finding["modality"] for finding in said["findings"]] == ["smear_field", "expression", "labs"]
    assert all(sum(f["probabilities"].values()) == pytest.approx(1, abs=1e-6) for f in said["findings"])
    drawn, *tables = said["findings"]
    assert 0 < drawn["in_scope"] < 1  # drawn smears are a little strange to a bundle of real ones, and it says so
    assert all(finding["in_scope"] >= 0.5 for finding in tables)
    assert verify().ok
    assert AuditEvent.objects.filter(action=Action.ANALYSIS_COMPLETE).count() == 1


def test_the_same_files_give_the_same_answer(case, capsys):
    first, second = assess(capsys, *case), assess(capsys, *case)
    assert first["answer"] == second["answer"]
    assert first["findings"] == second["findings"]


def test_a_bundle_is_loaded_once_in_a_process(case, capsys, monkeypatch):
    modalities.bundle_of.cache_clear()
    monkeypatch.setattr(smear, "_LOADED", {})
    read, built = [], []
    load_bundle, load_trunk = modalities.load_bundle, smear.load_trunk
    monkeypatch.setattr(modalities, "load_bundle", lambda path: read.append(path) or load_bundle(path))
    monkeypatch.setattr(smear, "load_trunk", lambda path: built.append(path) or load_trunk(path))
    assess(capsys, *case)
    assert len(read) == len(set(read)) == 5  # with the cells' that names the fields' white cells
    assert len(built) == 4  # of each smear bundle the fine-tuned trunk and the one that it began as
    assess(capsys, *case)
    assert (len(read), len(built)) == (5, 4)


def test_what_does_not_fit_together_is_said(tmp_path, capsys):
    tables.write_expression(tmp_path / "counts.tsv", "T-ALL", 5)
    tables.write_labs(tmp_path / "labs.csv", "AML", 5)
    said = assess(capsys, "--expression", str(tmp_path / "counts.tsv"), "--labs", str(tmp_path / "labs.csv"))
    (contradiction,) = said["discordance"]
    assert (contradiction["node"], contradiction["modalities"]) == ("acute_leukaemia", ["expression", "labs"])
    assert said["answer"]["node"] == "acute_leukaemia"


def test_what_is_no_smear_is_not_answered(tmp_path, capsys):
    noise = tmp_path / "noise.png"
    Image.effect_noise((256, 256), 90).convert("RGB").save(noise)
    said = assess(capsys, "--image", str(noise))
    assert (said["status"], said["answer"]) == ("abstained", None)
    assert said["reasons"]


@pytest.mark.parametrize(
    ("option", "name", "content", "mention"),
    [
        ("--image", "field.png", b"no picture", "Send PNG"),
        ("--labs", "labs.csv", b"loinc,value,unit\n6690-2,12.1,furlong\n", "furlong"),
        ("--expression", "counts.tsv", b"gene\tS1\nTP53\tmany\n", "Ensembl"),
    ],
)
def test_a_rejected_file_is_named_and_ends_with_two(tmp_path, capsys, option, name, content, mention):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        call_command("assess", option, str(tmp_path / name), "--json")
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert name in said.err
    assert mention in said.err


@pytest.mark.parametrize("words", [[], ["--labs", "nowhere.csv"]])
def test_nothing_to_read_ends_with_two(words):
    with pytest.raises(CommandError) as ended:
        call_command("assess", *words)
    assert ended.value.returncode == 2
