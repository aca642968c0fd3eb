"""The reviewed table of LOINC and UCUM, row by row, and the traps that it must not fall into."""

import pytest

from clinic.errors import InvalidInput
from clinic.interop.terminology import judge

PLAIN = [
    # LOINC, sent, → analyte, value, unit
    ("6690-2", 12.5, "10*3/uL", "wbc", 12.5, "10*9/L"),
    ("6690-2", 12500, "/uL", "wbc", 12.5, "10*9/L"),
    ("718-7", 8.1, "g/dL", "haemoglobin", 81, "g/L"),
    ("718-7", 5.0, "mmol/L", "haemoglobin", 80.5725, "g/L"),
    ("777-3", 31, "10*9/L", "platelets", 31, "10*9/L"),
    ("787-2", 92, "fL", "mcv", 92, "fL"),
    ("786-4", 33.1, "g/dL", "mchc", 331, "g/L"),
    ("742-7", 0.4, "10*9/L", "monocytes", 0.4, "10*9/L"),
    ("5905-5", 4, "%", "monocytes_percent", 4, "%"),
    ("731-0", 2.1, "10*9/L", "lymphocytes", 2.1, "10*9/L"),
    ("736-9", 30, "%", "lymphocytes_percent", 30, "%"),
    ("751-8", 1.2, "10*9/L", "anc", 1.2, "10*9/L"),
    ("770-8", 55, "%", "anc_percent", 55, "%"),
    ("26446-5", 62, "%", "blasts_percent", 62, "%"),
    ("709-6", 62, "%", "blasts_percent", 62, "%"),
    ("2532-0", 640, "U/L", "ldh", 640, "U/L"),
    ("14804-9", 10.7, "ukat/L", "ldh", 642.0, "U/L"),
    ("3255-7", 110, "mg/dL", "fibrinogen", 1.1, "g/L"),
    ("5902-2", 14.2, "s", "pt_seconds", 14.2, "s"),
    ("5894-1", 71, "%", "pt_percent", 71, "%"),
    ("6301-6", 1.3, "1", "inr", 1.3, "1"),
    ("6301-6", 1.3, "{INR}", "inr", 1.3, "1"),
    ("48065-7", 4200, "ng/mL{FEU}", "d_dimer_feu", 4200, "ug/L"),
    ("48065-7", 4.2, "mg/L{FEU}", "d_dimer_feu", 4200, "ug/L"),
    ("3084-1", 6.1, "mg/dL", "urate", 6.1, "mg/dL"),
    ("788-0", 14.1, "%", "rdw", 14.1, "%"),
]
TRAPS = [
    # what is sent, → why it is refused
    ("751-8", 55, "%", "wrong_unit"),  # a share under the code of the count
    ("770-8", 1.2, "10*9/L", "wrong_unit"),  # a count under the code of the share
    ("742-7", 4, "%", "wrong_unit"),
    ("736-9", 2.1, "10*9/L", "wrong_unit"),
    ("26446-5", 3.1, "10*9/L", "wrong_unit"),
    ("786-4", 14.1, "fL", "wrong_unit"),  # MCHC is no width
    ("788-0", 331, "g/L", "wrong_unit"),  # and RDW no concentration
    ("786-4", 14.1, "%", "implausible_value"),  # g/100 mL by an old spelling, but no MCHC: it is the RDW
    ("48065-7", 4200, "ng/mL{DDU}", "wrong_unit"),  # FEU is not DDU
    ("48066-5", 4200, "ng/mL{FEU}", "wrong_unit"),
    ("5902-2", 71, "%", "wrong_unit"),  # seconds are not % activity
    ("5894-1", 14.2, "s", "wrong_unit"),
    ("5894-1", 1.3, "1", "wrong_unit"),  # a ratio is neither
    ("6690-2", 12.5, "", "missing_unit"),
    ("6690-2", 12.5, "bushel", "unknown_unit"),
    ("6690-2", 12500, "10*9/L", "implausible_value"),  # a thousand times off
    ("6690-2", float("nan"), "10*9/L", "not_a_number"),
    ("99999-9", 1, "g/L", "unknown_code"),
    ("58410-2", 1, "g/L", "unknown_code"),  # a panel is no value
]


@pytest.mark.parametrize("row", PLAIN, ids=lambda row: f"{row[0]}-{row[2]}")
def test_a_value_is_what_its_code_and_unit_say(row):
    loinc, number, unit, analyte, value, canonical = row
    one = judge(loinc=loinc, number=number, unit=unit, place="here")
    assert (one.analyte, one.unit) == (analyte, canonical)
    assert one.value == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("row", TRAPS, ids=lambda row: f"{row[0]}-{row[2]}-{row[3]}")
def test_a_trap_is_refused_with_its_reason(row):
    loinc, number, unit, code = row
    with pytest.raises(InvalidInput) as refused:
        judge(loinc=loinc, number=number, unit=unit, place="here")
    assert refused.value.code == code
    assert refused.value.place == "here"
    assert refused.value.remedy
