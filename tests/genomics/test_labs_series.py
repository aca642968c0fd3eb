"""Panels over time: trends with intervals, the blast course, and a hint that is rare and says where it comes from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from genomics import __main__ as cli
from genomics.labs.series import counting_interval, describe, hint, trends
from genomics.labs.timeline import read_series
from ml.blast_course import SIMULATED
from ml.findings import InputRejected
from ml.simulated_courses import COUNTING, COURSES, SEED, validate
from tests.genomics.make import wide, write

WBC = "WBC [10*9/L]"
FALLING = [
    (f"2024-03-{day:02}", wbc, blasts) for day, wbc, blasts in ((1, 80, 70), (8, 8, 12), (15, 0.9, 0), (22, 2, 0))
]


def table(rows, **more):
    return wide(*({"date": d, WBC: w, "Blasts [%]": b, **more} for d, w, b in rows))


def course(tmp_path, rows=FALLING, **more):
    return read_series(write(tmp_path / "a.csv", table(rows, **more)))


def refused(source):
    with pytest.raises(InputRejected) as caught:
        read_series(source)
    return caught.value.code


def observation(code, value, unit, date):
    coding = [{"system": "http://loinc.org", "code": code}]
    quantity = {"value": value, "code": unit}
    return {
        "resourceType": "Observation",
        "code": {"coding": coding},
        "valueQuantity": quantity,
        "effectiveDateTime": date,
    }


class TestReading:
    def test_every_shape_says_the_same(self, tmp_path):
        rows = [(d, code, v, u) for d, w, b in FALLING for code, v, u in (("6690-2", w, "10*9/L"), ("709-6", b, "%"))]
        long = "\n".join(["date,code,value,unit", *(",".join(map(str, row)) for row in rows)]) + "\n"
        panels = [
            {"date": d, "observations": [{"code": c, "value": v, "unit": u} for e, c, v, u in rows if e == d]}
            for d, *_ in FALLING
        ]
        entry = [{"resource": observation(c, v, u, f"{d}T08:00:00Z")} for d, c, v, u in rows]
        sources = {
            "a.csv": table(reversed(FALLING)),
            "b.csv": long,
            "c.json": json.dumps({"panels": panels}),
            "d.json": json.dumps({"resourceType": "Bundle", "entry": entry}),
            "e.csv": wide(*({"day": 7 * k, WBC: w, "Blasts [%]": b} for k, (_, w, b) in enumerate(FALLING))),
        }
        for name, text in sources.items():
            read = read_series(write(tmp_path / name, text))
            assert read.days.tolist() == [0, 7, 14, 21], name
            assert [values["wbc"] for values in read.values] == [80, 8, 0.9, 2], name
            assert read.of("blasts_percent")[1].tolist() == [70, 12, 0, 0], name

    @pytest.mark.parametrize(
        ("name", "text", "code"),
        [
            ("a.csv", wide({WBC: 3}, {WBC: 4}), "no_dates"),
            ("a.csv", table([("03/04/2024", 1, 2), ("04/04/2024", 1, 2)]), "bad_date"),
            ("a.csv", table(FALLING[:1]), "too_few_panels"),
            ("a.csv", table([FALLING[0], FALLING[0]]), "duplicate_panel"),
            (
                "a.csv",
                wide({"date": 1, "patient": "A", WBC: 3}, {"date": 2, "patient": "B", WBC: 4}),
                "several_patients",
            ),
            ("a.csv", table([(1, "many", 2), (2, 3, 4)]), "not_a_number"),
            ("a.csv", "", "empty"),
            ("a.json", '{"panels": 3}', "no_dates"),
            ("a.json", '{"panels": [{"date": "2024-01-01"}, {"date": "2024-01-01"}]}', "duplicate_panel"),
            ("a.json", json.dumps({"observations": [{"code": "6690-2", "value": 1, "unit": "G/L"}]}), "no_dates"),
            ("a.json", "[1]", "no_dates"),
        ],
    )
    def test_what_is_no_series(self, tmp_path, name, text, code):
        assert refused(write(tmp_path / name, text)) == code

    def test_a_value_that_cannot_be_is_named_with_its_panel(self, tmp_path):
        rows = [*FALLING[:2], ("2024-03-15", 9000, 0)]
        read = course(tmp_path, rows)
        assert [[flag.code for flag in flags] for flags in read.flags] == [[], [], ["implausible_value"]]
        assert "wbc" not in read.values[2]


class TestTrends:
    def of(self, tmp_path, values, key="platelets", header="Platelets [10*9/L]"):
        rows = wide(*({"day": 7 * k, header: value} for k, value in enumerate(values)))
        return {t.analyte: t for t in trends(read_series(write(tmp_path / "a.csv", rows)))}.get(key)

    def test_a_doubling_a_week_is_found(self, tmp_path):
        trend = self.of(tmp_path, [10, 20, 40, 80, 160, 320])
        assert trend.direction == "rising"
        assert trend.doubling_days == pytest.approx(7, rel=0.01)
        assert trend.low <= trend.slope <= trend.high

    def test_one_wild_value_does_not_turn_it(self, tmp_path):
        steady = [300 * 0.8**k for k in range(9)]
        steady[4] = 2900
        trend = self.of(tmp_path, steady)
        assert trend.direction == "falling"
        assert trend.slope == pytest.approx(np.log(0.8), rel=0.05)
        assert trend.doubling_days is None

    def test_ups_and_downs_are_no_trend(self, tmp_path):
        assert self.of(tmp_path, [100, 180, 90, 160, 110, 150]).direction == "no clear trend"

    def test_two_points_are_none(self, tmp_path):
        assert self.of(tmp_path, [10, 100]) is None

    def test_zero_counts_are_finite(self, tmp_path):
        trend = self.of(tmp_path, [5, 0, 0, 1])
        assert np.isfinite([trend.slope, trend.low, trend.high]).all()


class TestHint:
    @pytest.mark.parametrize(
        ("percent", "says"),
        [
            ([70, 12, 0, 0], "response"),
            ([70, 1, 0, 30], "possible relapse"),
            ([60, 55, 70], "no response"),
            ([70, 0, 2], None),
            ([3, 1, 2], None),
            ([0, 0, 0], None),
        ],
    )
    def test_the_rules(self, percent, says):
        assert hint(np.arange(len(percent), dtype=float), np.array(percent, float))["says"] == says

    def test_only_from_three_points_and_only_where_blasts_were_counted(self, tmp_path):
        two = describe(course(tmp_path, FALLING[:2]))
        assert two["hint"]["says"] is None
        assert "needs 3" in two["hint"]["why"]
        none = describe(read_series(write(tmp_path / "b.csv", wide(*({"day": k, WBC: 3 + k} for k in range(5))))))
        assert (none["hint"]["says"], none["blasts"]) == (None, None)
        assert "0 points" in none["hint"]["why"]

    def test_it_says_simulated_wherever_it_appears(self, tmp_path):
        for rows in (FALLING, FALLING[:2]):
            said = describe(course(tmp_path, rows))["hint"]["validation"]
            assert (said["kind"], said["data"]) == ("simulated", "simulated")
            assert "no patient" in said["note"]

    def test_the_interval_of_a_count_of_a_hundred_cells(self):
        low, high = counting_interval(np.array([0.0, 5.0, 100.0]))
        assert low == pytest.approx([0, 1.64, 96.38], abs=0.01)
        assert high == pytest.approx([3.62, 11.28, 100], abs=0.01)

    @pytest.mark.parametrize("counted", COUNTING)
    def test_the_figures_are_those_of_the_simulation(self, counted):
        stored = json.loads(SIMULATED.read_text("utf-8"))[counted]
        assert (stored["courses_of_each_kind"], stored["seed"]) == (COURSES, SEED)
        few = validate(counted, 100, 1)["said"]
        for kind, said in stored["said"].items():
            assert sum(said.values()) == COURSES
            assert abs(said[kind] / COURSES - few[kind][kind] / 100) < 0.12
        assert stored["said"]["no response"]["response"] == 0

    def test_a_hint_on_unordered_times_is_none(self):
        assert hint(np.array([0.0, 0.0, 0.0]), np.array([70.0, 12.0, 0.0]))["says"] is None


def test_from_the_command_line(tmp_path, capsys):
    source = write(tmp_path / "a.csv", table(FALLING))
    assert cli.main(["series", "labs", str(source)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["hint"]["says"] == "response"
    assert said["blasts"]["lowest"] == 0
    assert {trend["analyte"] for trend in said["trends"]} == {"wbc", "blasts_percent"}
    assert cli.main(["series", "labs", str(tmp_path / "gone.csv")]) == 2
    assert "gone.csv" in capsys.readouterr().err
