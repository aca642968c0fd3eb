"""Lab panels in every shape and unit, and what is refused instead of guessed."""

from __future__ import annotations

import json

import pytest

from ml.findings import InputRejected
from tests.genomics.make import PANEL, read_labs, wide, write

LONG = [("6690-2", 30, "10*9/L"), ("777-3", 40, "10*9/L"), ("LDH", 700, "U/L"), ("3255-7", 3, "g/L"), ("age", 40, "a")]
USUAL = {"wbc": 30.0, "platelets": 40.0, "ldh": 700.0, "fibrinogen": 3.0, "age": 40.0}


def long(rows, head="code,value,unit"):
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n"


def observation(code, value, unit, **more):
    quantity = {"value": value, "code": unit, **more}
    coding = [{"system": "http://loinc.org", "code": code}]
    return {"resourceType": "Observation", "code": {"coding": coding}, "valueQuantity": quantity}


def values(source, tmp_path, **options):
    (only,) = read_labs(source, tmp_path / "out", **options)[1].values
    return only


def rejected(source, tmp_path, **options):
    with pytest.raises(InputRejected) as caught:
        read_labs(source, tmp_path / "out", **options)
    return caught.value


BUNDLE = {"resourceType": "Bundle", "entry": [{"resource": observation(*row)} for row in LONG[:2] + LONG[3:4]]}
SIMPLE = {"age": 40, "observations": [{"code": c, "value": v, "unit": u} for c, v, u in LONG[:4]]}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.csv", wide(PANEL)),
        ("a.tsv", wide(PANEL, sep="\t")),
        ("a.csv.gz", wide(PANEL)),
        ("a.csv", wide({"WBC_G_L": 30, "Platelets_G_L": 40, "LDH_UI_L": 700, "age": 40, "Fibrinogen_g_L": 3})),
        ("a.csv", long(LONG)),
        ("a.csv", "# from the laboratory\n" + long(LONG)),
        ("a.csv", ("\ufeff" + wide(PANEL)).encode()),
        ("a.csv", wide(PANEL).encode("utf-16")),
        ("a.csv", long([(f"{c} [{u}]" if c == "LDH" else c, v, "" if c == "LDH" else u) for c, v, u in LONG])),
        ("a.csv", "analyte,unit,today\n" + "\n".join(f"{c},{u},{v}" for c, v, u in LONG) + "\n"),
        ("a.csv", "test,today\n" + "\n".join(f"{h},{v}" for h, v in PANEL.items()) + "\n"),
        ("a.json", json.dumps(SIMPLE)),
        ("a.json", json.dumps(SIMPLE["observations"] + [{"loinc": "30525-0", "value": 40, "unit": "a"}])),
    ],
)
def test_every_shape_says_the_same(tmp_path, file, text):
    assert values(write(tmp_path / file, text), tmp_path) == pytest.approx(USUAL)


def test_fhir_by_loinc(tmp_path):
    expected = {key: USUAL[key] for key in ("wbc", "platelets", "fibrinogen")}
    assert values(write(tmp_path / "a.json", json.dumps(BUNDLE)), tmp_path) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("header", "value", "key", "canonical"),
    [
        ("WBC [/uL]", 30000, "wbc", 30.0),
        ("WBC [10*3/uL]", 30, "wbc", 30.0),
        ("Leukocytes (G/L)", 30, "wbc", 30.0),
        ('"WBC, G/L"', 30, "wbc", 30.0),
        ("WBC [X10(3)/uL]", 30, "wbc", 30.0),
        ("MCHC [mmol/L]", 20.5, "mchc", 330.3),
        ("Fibrinogen [G/L]", 3.1, "fibrinogen", 3.1),
        ("MCHC [g/dL]", 33.1, "mchc", 331.0),
        ("MCHC [g/L]", 331, "mchc", 331.0),
        ("Fibrinogen [mg/dL]", 310, "fibrinogen", 3.1),
        ("LDH [ukat/L]", 10, "ldh", 600.0),
        ("Age [mo]", 480, "age", 40.0),
        ("Neutrophils [%]", 20, "anc_percent", 20.0),
        ("Neutrophils [10*9/L]", 6, "anc", 6.0),
        ("PT [%]", 70, "pt_percent", 70.0),
        ("PT [s]", 14, "pt_seconds", 14.0),
    ],
)
def test_units_are_converted(tmp_path, header, value, key, canonical):
    rest = {h: v for h, v in PANEL.items() if h.split()[0].lower() != header.split()[0].lower()}
    rest.pop("WBC [10*9/L]", None) if key == "wbc" else None
    read = values(write(tmp_path / "a.csv", wide({header: value, **rest})), tmp_path)
    assert read[key] == pytest.approx(canonical, rel=1e-3)


def test_seconds_are_kept_apart_from_per_cent_and_not_used(tmp_path):
    said, read = read_labs(write(tmp_path / "a.csv", wide({**PANEL, "PT [s]": 14})), tmp_path / "out")
    assert said["unused"] == ["pt_seconds"]
    assert "pt_percent" not in read.values[0]
    assert [flag.code for flag in read.flags] == ["not_used"]


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"MCHC": 33}, "missing_unit", "g/L"),
        ({"LDH [furlong]": 3}, "unknown_unit", "furlong"),
        ({"Fibrinogen [%]": 70}, "wrong_unit", "g/L"),
        ({"PT [1]": 0.9}, "wrong_unit", "per cent"),
        ({"WBC [10*9/L]": 30000}, "implausible_value", "/uL"),
        ({"WBC [10*9/L]": "many"}, "not_a_number", "many"),
        ({"WBC [10*9/L]": "<0.1"}, "not_a_number", "bound"),
        ({"WBC [10*9/L]": "inf"}, "infinite", "infinite"),
        ({"WBC [10*9/L]": "1e308"}, "implausible_value", "1500"),
        ({"WBC [10*9/L]": "-3"}, "implausible_value", "too little is left"),
        ({"WBC [10*9/L]": "=30*2"}, "formula", "=30*2"),
        ({"WBC [10*9/L]": ""}, "insufficient", "white cells"),
    ],
)
def test_nothing_is_guessed(tmp_path, change, code, word):
    header = next(iter(change)).split()[0]
    panel = {h: v for h, v in PANEL.items() if not h.startswith(header)} | change
    fault = rejected(write(tmp_path / "a.csv", wide(panel)), tmp_path)
    assert fault.code == code
    assert word in str(fault)
    assert fault.place.startswith("a.csv, ")
    assert fault.remedy


class TestValuesThatCannotBe:
    @pytest.mark.parametrize("said", ["<0.6", "> 5", "≤0.6"])
    def test_a_bound_is_left_out_and_named(self, tmp_path, said):
        panels = self.read(tmp_path, **{"Fibrinogen [g/L]": said})
        assert "fibrinogen" not in panels.values[0]
        [flag] = [flag for flag in panels.flags if flag.code == "not_a_number"]
        assert flag.message.startswith("a.csv, line 2, column 'Fibrinogen [g/L]': Fibrinogen")
        assert said in flag.message

    def read(self, tmp_path, **change):
        header = next(iter(change)).split()[0]
        panel = {h: v for h, v in PANEL.items() if not h.startswith(header)} | change
        return read_labs(write(tmp_path / "a.csv", wide(panel)), tmp_path / "out")[1]

    @pytest.mark.parametrize(
        ("header", "value", "words"),
        [
            ("MCHC [g/L]", 33, ("33 g/L", "200 to 450", "g/dL")),
            ("MCHC [g/dL]", 331, ("331 g/dL", "200 to 450", "g/L")),
            ("Fibrinogen [g/L]", 310, ("310 g/L", "mg/dL")),
            ("Fibrinogen [mg/dL]", 3.1, ("3.1 mg/dL", "g/L")),
            ("Neutrophils [%]", 130, ("0 to 100", "130 %")),
            ("Age", 400, ("0 to 120", "mo")),
            ("Age", -1, ("not possible",)),
            ("LDH [U/L]", 5, ("5 U/L", "ukat/L")),
            ("PT [s]", 400, ("5 to 300",)),
        ],
    )
    def test_they_are_left_out_and_named_with_the_likely_mix_up(self, tmp_path, header, value, words):
        read = self.read(tmp_path, **{header: value})
        (flag,) = [flag for flag in read.flags if flag.code == "implausible_value"]
        assert all(word in flag.message for word in (*words, "a.csv, line 2", repr(header), "nothing was converted"))
        assert read.questioned == ((),)
        assert value not in read.values[0].values()

    @pytest.mark.parametrize(
        ("header", "value", "key", "word"),
        [
            ("Fibrinogen [g/L]", 0.25, "fibrinogen", "0.3 to 12"),
            ("PT [%]", 14, "pt_percent", "would suit Prothrombin time, seconds"),
            ("PT [s]", 75, "pt_seconds", "would suit Prothrombin time, %"),
            ("MCHC [g/L]", 395, "mchc", "270 to 380"),
            ("Platelets [10*9/L]", 2000, "platelets", "/uL"),
        ],
    )
    def test_unusual_ones_are_used_and_questioned(self, tmp_path, header, value, key, word):
        read = self.read(tmp_path, **{header: value})
        assert read.values[0][key] == pytest.approx(value)
        assert read.questioned == ((key,),)
        assert [word in flag.message for flag in read.flags if flag.code == "questioned_value"] == [True]

    @pytest.mark.parametrize(
        ("age", "sex", "value", "asked"),
        [
            (40, "male", 190, False),
            (40, "female", 190, True),
            (40, "", 190, False),
            (0.05, "f", 220, False),
            (5, "m", 190, True),
        ],
    )
    def test_what_is_unusual_depends_on_age_and_sex(self, tmp_path, age, sex, value, asked):
        panel = {**PANEL, "Age": age, "Sex": sex, "Hb [g/L]": value}
        _, read = read_labs(write(tmp_path / "a.csv", wide(panel)), tmp_path / "out")
        assert read.questioned == ((("haemoglobin",),) if asked else ((),))

    def test_counts_that_do_not_go_with_the_white_cells_are_questioned(self, tmp_path):
        panel = {**PANEL, "Neutrophils [%]": 20, "ANC [10*9/L]": 0.006 * 1000 * 10}
        _, read = read_labs(write(tmp_path / "a.csv", wide(panel)), tmp_path / "out")
        assert "anc" in read.questioned[0]
        assert {flag.code for flag in read.flags} == {"contradictory_values"}

    def test_mchc_is_compared_with_haemoglobin_over_haematocrit(self, tmp_path):
        panel = {**PANEL, "Hb [g/dL]": 9, "Hct [%]": 27, "MCHC [g/L]": 280}
        _, read = read_labs(write(tmp_path / "a.csv", wide(panel)), tmp_path / "out")
        assert read.questioned == (("mchc",),)

    def test_the_flags_are_of_their_own_panel_and_survive_the_file(self, tmp_path):
        odd, fine = {**PANEL, "id": "odd", "Fibrinogen [g/L]": 310}, {**PANEL, "id": "fine"}
        _, read = read_labs(write(tmp_path / "a.csv", wide(odd, fine)), tmp_path / "out", many=True)
        assert [[flag.code for flag in one.flags] for one in read.each()] == [["implausible_value"], []]

    def test_the_sex_of_a_fhir_patient_counts(self, tmp_path):
        entries = [{"resource": observation(*row)} for row in [*LONG, ("718-7", 19, "g/dL")]]
        for sex, asked in (("female", (("haemoglobin",),)), ("male", ((),))):
            person = {"resource": {"resourceType": "Patient", "gender": sex}}
            text = json.dumps({"resourceType": "Bundle", "entry": [person, *entries]})
            assert read_labs(write(tmp_path / "a.json", text), tmp_path / "out")[1].questioned == asked


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"observations": [', "bad_json"),
        ('{"observations": 5}', "wrong_shape"),
        ("[1, 2]", "wrong_shape"),
        ('{"resourceType": "Bundle", "entry": true}', "insufficient"),
        ('{"resourceType": "Bundle", "entry": [5, {"resource": "x"}]}', "insufficient"),
        ('{"resourceType": "Observation", "code": "x", "valueQuantity": 5}', "insufficient"),
        ('{"resourceType": "Observation", "code": {"coding": [5]}}', "insufficient"),
        ('{"observations": [{"code": "6690-2", "value": NaN, "unit": "10*9/L"}]}', "not_a_number"),
        ('{"observations": [{"code": "6690-2", "value": "30", "unit": "10*9/L"}]}', "not_a_number"),
        ('{"observations": [{"code": "6690-2", "value": true, "unit": "10*9/L"}]}', "not_a_number"),
        (json.dumps(observation("6690-2", 1, "10*9/L", comparator="<")), "not_a_number"),
        ("[" * 100_000, "bad_json"),
        ('{"observations": [{"code": "6690-2", "value": 1' + 400 * "0" + "}]}", "not_a_number"),
        ("[" + 5000 * "9" + "]", "bad_json"),
        ("", "empty"),
        ("WBC,LDH\n", "header_only"),
        (b"%PDF-1.7" + bytes(50), "wrong_type"),
        (wide(PANEL) + "1,2\n", "ragged_row"),
        ("WBC [10*9/L],LDH [U/L]," + "x" * 9_000_000, "line_too_long"),
    ],
)
def test_what_is_no_panel(tmp_path, text, code):
    assert rejected(write(tmp_path / "a.json", text), tmp_path).code == code


def test_unknown_codes_are_listed_never_dropped_in_silence(tmp_path):
    rows = [*LONG, ("99999-9", 5, "g/L")]
    said, _ = read_labs(write(tmp_path / "a.csv", long(rows)), tmp_path / "out")
    assert said["unused"] == ["99999-9"]


def test_one_analyte_given_twice(tmp_path):
    fault = rejected(write(tmp_path / "a.csv", long([*LONG, ("wbc", 31, "10*9/L")])), tmp_path)
    assert (fault.code, "line 7" in fault.place, "line 2" in fault.problem) == ("duplicate_analyte", True, True)


def test_a_differential_above_a_hundred_is_said_of_its_own_panel(tmp_path):
    odd = {**PANEL, "Neutrophils [%]": 70, "Lymphocytes [%]": 60, "id": "odd"}
    fine = {**odd, "Neutrophils [%]": 20, "id": "fine"}
    _, read = read_labs(write(tmp_path / "a.csv", wide(odd, fine)), tmp_path / "out", many=True)
    assert [[flag.code for flag in one.flags] for one in read.each()] == [["differential_sum"], []]


class TestSeveralPanels:
    ROWS = tuple({"id": name, **PANEL, "WBC [10*9/L]": wbc} for name, wbc in (("p1", 30), ("p2", 99_999), ("p3", 5)))

    def test_one_is_named_or_many_are_welcome(self, tmp_path):
        source = write(tmp_path / "a.csv", wide(*self.ROWS))
        assert rejected(source, tmp_path).code == "several_panels"
        assert rejected(source, tmp_path, sample="p9").code == "unknown_panel"
        assert values(source, tmp_path, sample="p3")["wbc"] == 5
        assert rejected(source, tmp_path, many=True).code == "implausible_value"

    def test_a_bad_panel_does_not_silence_the_others(self, tmp_path):
        source = write(tmp_path / "a.csv", wide(*self.ROWS))
        said, read = read_labs(source, tmp_path / "out", many=True, keep_going=True)
        assert read.ids == ("p1", "p3")
        assert [(fault["sample"], fault["code"]) for fault in said["refused"]] == [("p2", "implausible_value")]
        assert [one.values[0]["wbc"] for one in read.each()] == [30, 5]

    def test_rows_without_an_id_are_numbered(self, tmp_path):
        source = write(tmp_path / "a.csv", wide(PANEL, {**PANEL, "WBC [10*9/L]": 7}))
        assert values(source, tmp_path, row=2)["wbc"] == 7

    def test_panels_of_a_long_table(self, tmp_path):
        rows = [(name, *row) for name in ("p1", "p2") for row in LONG]
        _, read = read_labs(write(tmp_path / "a.csv", long(rows, "id,code,value,unit")), tmp_path / "out", many=True)
        assert read.ids == ("p1", "p2")
        assert read.values[0] == read.values[1] == pytest.approx(USUAL)

    def test_an_id_is_there_once_and_a_bundle_is_of_one_person(self, tmp_path):
        source = write(tmp_path / "a.csv", wide(self.ROWS[0], self.ROWS[0]))
        assert rejected(source, tmp_path, many=True).code == "duplicate_panel"
        two = [observation(*row) | {"subject": {"reference": f"Patient/{k}"}} for k, row in enumerate(LONG[:2])]
        assert rejected(write(tmp_path / "a.json", json.dumps(two)), tmp_path).code == "several_panels"
