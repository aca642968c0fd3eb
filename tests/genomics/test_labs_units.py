"""Units as laboratories write them, and what must not be guessed."""

from __future__ import annotations

import pytest

from genomics.labs.analytes import load_analytes

GIGA = """
    G/L|G/l|Giga/L|GIGA/L|Gpt/L|Mrd/L|bil/L|10^9/L|x10^9/L|×10^9/L|10E9/L|x10E9/L|1e9/L|10⁹/L|×10⁹/L|x 10^9/l|10**9/L
    X10*9/L|10*9/L|10*9/L{cells}|10'9/L|10(9)/L|10exp9/L|10.e9/L|109/L|x10 9/L|10^9/л|G.L-1|10⁹·L⁻¹|/nL|1/nl|10^6/mL
    10^3/uL|10^3/µL|10³/µl|x10^3/μL|x10E3/uL|X10(3)/uL|10(3)/mcL|10*3/mm3|K/uL|K/µL|K/mcL|K/mm3|K/cumm|thou/uL
    thousand/uL|Tsd/µl|Tsd./µl|тыс/мкл|1000/uL|x1000/uL|10^3/mm³
"""
PER_MICROLITRE = "/uL|/µL|/mm3|/mm³|/cumm|/cmm|cells/uL|cells/mm3|cell/mm3|Zellen/µl|#/uL|per uL|1/µL"
SPELLINGS = [
    *[("wbc", unit.strip(), 1.0) for unit in GIGA.replace("\n", "|").split("|") if unit.strip()],
    *[("platelets", unit, 1e-3) for unit in PER_MICROLITRE.split("|")],
    ("platelets", "lakhs/cumm", 100.0),
    ("platelets", "10^4/uL", 10.0),
    *[("mchc", unit, 1.0) for unit in ("g/L", "g/l", "G/L", "gm/L", "mg/mL", "g·L⁻¹")],
    *[("mchc", unit, 10.0) for unit in ("g/dL", "G/DL", "g/100mL", "g/100 ml", "gm/dl", "gms/dL", "g%", "gm%", "%")],
    *[("mchc", unit, 16.1145) for unit in ("mmol/L", "mmol/l", "mmol/L(Fe)")],
    *[("haemoglobin", unit, 10.0) for unit in ("g/dL", "g Hb/dL", "gr/dl", "г/дл".replace("дл", "dl"))],
    *[("fibrinogen", unit, 0.01) for unit in ("mg/dL", "mg/dl", "MG/DL", "mg%", "mg/100 mL")],
    *[("fibrinogen", unit, 1e-3) for unit in ("mg/L", "ug/mL", "µg/mL", "mcg/mL")],
    ("fibrinogen", "G/L", 1.0),
    ("fibrinogen", "µmol/L", 0.34),
    *[("ldh", unit, 1.0) for unit in ("U/L", "UI/L", "IU/L", "[IU]/L", "units/L", "mU/mL", "E/L", "ед/л", "МЕ/л")],
    *[("ldh", unit, 60.0) for unit in ("µkat/L", "μkat/l", "ukat/L", "mckat/L")],
    ("ldh", "U/mL", 1000.0),
    ("ldh", "nkat/L", 0.06),
    *[("mcv", unit, 1.0) for unit in ("fL", "FL", "fl", "um3", "µm³", "um^3", "cu mic", "femtoliter")],
    *[("pt_percent", unit, 1.0) for unit in ("%", "percent", "% activity", "%{activity}", "% of normal", "% Quick")],
    *[("pt_seconds", unit, 1.0) for unit in ("s", "sec", "sec.", "seconds", "Sek.")],
    *[("inr", unit, 1.0) for unit in ("1", "INR", "{INR}", "ratio")],
    *[("haematocrit", unit, 100.0) for unit in ("L/L", "l/l", "1", "fraction")],
    *[("age", unit, 1.0) for unit in ("a", "years", "yrs", "year(s)", "Jahre", "ans", "años", "Y.O.")],
    ("age", "months", 1 / 12),
    ("age", "weeks", 7 / 365.25),
]


@pytest.mark.parametrize(("key", "unit", "times"), SPELLINGS)
def test_every_spelling_means_what_it_says(key, unit, times):
    analyte = load_analytes()[key]
    assert analyte.factor(analyte.ucum(unit)) == pytest.approx(times, rel=1e-3)


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        ("wbc", "mil/mm3"),  # thousands in Rome, millions in London
        ("age", "m"),  # months or metres
        ("wbc", "%"),
        ("wbc", "g/dL"),
        ("fibrinogen", "%"),
        ("fibrinogen", "U/L"),
        ("fibrinogen", "g/d"),
        ("ldh", "mg/dL"),
        ("pt_percent", "s"),
        ("pt_seconds", "%"),
        ("mcv", "g/L"),
        ("platelets", "K"),
        ("wbc", "10^9"),
        ("wbc", ""),
        ("wbc", "/"),
        ("ldh", "L"),
    ],
)
def test_what_can_be_read_in_two_ways_or_measures_something_else_is_no_unit(key, unit):
    analyte = load_analytes()[key]
    assert analyte.factor(analyte.ucum(unit)) is None


def test_the_table_is_sound():
    for analyte in load_analytes().values():
        assert analyte.factor(analyte.unit) == 1
        last = analyte.plausible[-1]
        assert last.fits(None, None), f"{analyte.key}: the last row is for everybody"
        for span in analyte.plausible:
            assert analyte.possible[0] <= span.low < span.high <= analyte.possible[1]
        assert set(analyte.confused) <= set(load_analytes())
