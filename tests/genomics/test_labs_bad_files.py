"""Files of labs that are packed, odd or hostile: read where they can be, else refused with the place and what to do."""

from __future__ import annotations

import gzip

import pytest

from genomics import packed
from genomics.labs.timeline import read_series
from ml.findings import InputRejected
from tests.genomics.make import PANEL, read_labs, wide, write
from tests.genomics.test_expression_layouts import workbook, zipped

ROWS = [list(PANEL), list(PANEL.values())]


def rejected(source, tmp_path, **options):
    with pytest.raises(InputRejected) as caught:
        read_labs(source, tmp_path / "out", **options)
    assert caught.value.remedy
    assert source.name in caught.value.place
    return caught.value


class TestContainers:
    @pytest.mark.parametrize("kind", ["a.xlsx", "a.zip", "a.csv.gz", "zipped.json"])
    def test_a_panel_is_the_same_however_it_is_packed(self, tmp_path, kind):
        content = {
            "a.xlsx": workbook(("labs", ROWS)),
            "a.zip": zipped({"labs.csv": wide(PANEL)}),
            "a.csv.gz": wide(PANEL),
            "zipped.json": zipped({"a.json": '[{"loinc": "6690-2", "value": 30, "unit": "10*9/L"}]'}),
        }[kind]
        if kind == "zipped.json":
            assert rejected(write(tmp_path / kind, content), tmp_path).code == "insufficient"
            return
        _, plain = read_labs(write(tmp_path / "plain.csv", wide(PANEL)), tmp_path / "plain")
        _, read = read_labs(write(tmp_path / kind, content), tmp_path / "out")
        assert read.values == plain.values

    def test_a_workbook_of_two_sheets_needs_the_name_of_one(self, tmp_path):
        source = write(tmp_path / "a.xlsx", workbook(("old", ROWS), ("new", ROWS)))
        assert rejected(source, tmp_path).code == "several_sheets"
        _, read = read_labs(source, tmp_path / "out", sheet="new")
        assert read.values[0]["wbc"] == 30.0

    def test_a_formula_in_a_workbook_is_named(self, tmp_path):
        cells = [ROWS[0], ["=15*2", *ROWS[1][1:]]]
        fault = rejected(write(tmp_path / "a.xlsx", workbook(("labs", cells))), tmp_path)
        assert fault.code == "formula"
        assert "sheet 'labs', line 2" in fault.place

    @pytest.mark.parametrize("kind", ["a.csv.gz", "a.zip"])
    def test_a_bomb_stops_at_the_bound(self, tmp_path, monkeypatch, kind):
        monkeypatch.setattr(packed, "MAX_BYTES", 1_000_000)
        data = bytes(30_000_000)
        source = tmp_path / kind
        source.write_bytes(gzip.compress(data) if kind == "a.csv.gz" else zipped({"a.csv": data}))
        assert rejected(source, tmp_path).code == "too_large"

    def test_several_files_in_a_zip(self, tmp_path):
        fault = rejected(write(tmp_path / "a.zip", zipped({"a.csv": "x", "b.csv": "y"})), tmp_path)
        assert "a.csv, b.csv" in fault.problem

    def test_a_damaged_workbook(self, tmp_path):
        data = workbook(("labs", ROWS))
        assert rejected(write(tmp_path / "a.xlsx", data[: len(data) // 2]), tmp_path).code == "wrong_type"

    def test_a_series_in_a_workbook(self, tmp_path):
        rows = [["date", *PANEL], ["2024-03-01", *PANEL.values()], ["2024-03-08", *PANEL.values()]]
        course = read_series(write(tmp_path / "a.xlsx", workbook(("course", rows))))
        assert course.days.tolist() == [0.0, 7.0]


class TestText:
    def test_a_line_of_100_mb(self, tmp_path):
        source = write(tmp_path / "a.csv", b"WBC [10*9/L]," + b"12345678," * 11_200_000)
        fault = rejected(source, tmp_path)
        assert (fault.code, fault.place) == ("line_too_long", "a.csv, line 1")

    def test_utf_16_with_and_without_its_mark(self, tmp_path):
        _, read = read_labs(write(tmp_path / "a.csv", wide(PANEL).encode("utf-16")), tmp_path / "out")
        assert read.values[0]["wbc"] == 30.0
        fault = rejected(write(tmp_path / "b.csv", wide(PANEL).encode("utf-16-le")), tmp_path)
        assert (fault.code, "UTF-8" in fault.remedy) == ("wrong_type", True)

    def test_a_decimal_comma_and_a_decimal_point_in_one_table(self, tmp_path):
        mixed = PANEL | {"WBC [10*9/L]": "30,5", "Fibrinogen [g/L]": "3.1"}
        fault = rejected(write(tmp_path / "a.csv", wide(mixed, sep=";")), tmp_path)
        assert fault.code == "mixed_decimal"
        assert "line 2" in fault.place
        assert "'3.1'" in fault.problem

    def test_decimal_commas_alone_are_read(self, tmp_path):
        commas = PANEL | {"WBC [10*9/L]": "30,5", "Fibrinogen [g/L]": "3,1"}
        _, read = read_labs(write(tmp_path / "a.csv", wide(commas, sep=";")), tmp_path / "out")
        assert (read.values[0]["wbc"], read.values[0]["fibrinogen"]) == (30.5, 3.1)


class TestSexOfTheRecord:
    @pytest.mark.parametrize(("said", "own"), [("male", "M"), ("female", "F"), ("unknown", None), (None, None)])
    def test_it_is_taken_where_the_file_states_none(self, tmp_path, monkeypatch, said, own):
        asked = []
        monkeypatch.setattr("genomics.labs.found.doubts", lambda measured, sex: asked.append(sex) or [])
        read_labs(write(tmp_path / "a.csv", wide(PANEL)), tmp_path / "out", sex=said)
        assert set(asked) == {own}

    def test_what_the_file_says_counts_more(self, tmp_path, monkeypatch):
        asked = []
        monkeypatch.setattr("genomics.labs.found.doubts", lambda measured, sex: asked.append(sex) or [])
        read_labs(write(tmp_path / "a.csv", wide({"sex": "F", **PANEL})), tmp_path / "out", sex="male")
        assert set(asked) == {"F"}
