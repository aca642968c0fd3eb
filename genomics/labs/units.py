"""Units as laboratories write them → UCUM, and UCUM → factors by pint (ucumvert). Nothing is guessed.

Laboratories write 10⁹/L in some forty ways, most of them no UCUM. What cannot be told for sure is no unit: ``m`` of an
age is months or metres, ``mil/mm3`` is thousands in one language and millions in another.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

import pint
from ucumvert import InvalidUcumError, PintUcumRegistry

VOLUMES = {
    **dict.fromkeys(("l", "litre", "liter", "ltr", "л"), "L"),
    **dict.fromkeys(("dl", "100ml", "100cc"), "dL"),
    **dict.fromkeys(("ml", "cc", "cm3"), "mL"),
    **dict.fromkeys(("ul", "mcl", "mm3", "cumm", "cmm", "cu.mm", "mm^3", "мкл", "microliter", "microlitre"), "uL"),
    "nl": "nL",
    "pl": "pL",
}
THOUSANDS = {
    **dict.fromkeys(("k", "thou", "thous", "thousand", "thousands", "tsd", "tsd.", "tys", "тыс", "x1000"), 3),
    **dict.fromkeys(("lakh", "lakhs", "lac", "lacs"), 5),
    **dict.fromkeys(("mio", "mio.", "mill", "million"), 6),
    **dict.fromkeys(("g", "giga", "gpt", "mrd", "mrd.", "bil", "billion"), 9),
}
GRAMS = {"g": "g", "gm": "g", "gms": "g", "gr": "g", "gram": "g", "grams": "g", "г": "g", "mg": "mg", "мг": "mg"}
MASSES = {**GRAMS, "ug": "ug", "mcg": "ug", "kg": "kg"}
ENZYMES = {
    **dict.fromkeys(("u", "ui", "iu", "[iu]", "unit", "units", "int'lunits", "e", "ед", "ме", "u.i.", "i.u."), "U"),
    "mu": "mU",
    "ku": "kU",
    "ukat": "ukat",
    "mckat": "ukat",
    "mkkat": "ukat",
    "nkat": "nkat",
    "kat": "kat",
}
MOLES = {"mmol": "mmol", "umol": "umol", "mcmol": "umol", "mol": "mol", "ммоль": "mmol"}
WHOLE = {
    **dict.fromkeys(("years", "year", "year(s)", "yr", "yrs", "y", "y.o", "yo", "ans", "an", "jahre", "años"), "a"),
    **dict.fromkeys(("anni", "anos", "a"), "a"),
    **dict.fromkeys(("months", "month", "month(s)", "mois", "monate", "mo", "mos", "mths"), "mo"),
    **dict.fromkeys(("weeks", "week", "wk", "wks"), "wk"),
    **dict.fromkeys(("days", "day", "tage", "jours", "d"), "d"),
    **dict.fromkeys(("percent", "percents", "pct", "percentage", "percentual", "pourcent", "prozent"), "%"),
    **dict.fromkeys(("%activity", "%ofnormal", "%ofwbc", "%quick", "%act", "%act.", "%wbc", "%leuk", "vol%"), "%"),
    **dict.fromkeys(("sec", "secs", "second", "seconds", "sek", "s", "sekunden", "secondes", "сек", "с"), "s"),
    **dict.fromkeys(("um3", "um^3", "cumic", "cumicron", "cubicmicron", "femtoliter", "femtolitre", "фл"), "fL"),
    "fl": "fL",
    "pg": "pg",
    **dict.fromkeys(("ratio", "inr", "fraction", "frac", "index", "1"), "1"),
    "%": "%",
    "g%": "g/dL",
    "gm%": "g/dL",
    "mg%": "mg/dL",
}
POWER = re.compile(r"(?:x|1x)?1(?:0(?:\.?\^|\*\*?|\.?e|exp|'|\(|\.)?\+?([3-9]|12)\)?|e\+?([3-9]|12))")
COUNTED = re.compile(r"(?:cells?|zellen|zell|#|leuk|wbc|per|1)?")
CONCENTRATION = re.compile(r"(?:hb|hgb|hemoglobin|haemoglobin|rbc|feu|fe|\(fe\)|\(37c\)|37c|{.*})$")


def to_ucum(unit: str, *, of_counts: bool = True) -> str:
    """The UCUM spelling of what laboratories write; unchanged where it is UCUM already or unknown.

    ``of_counts``: whether ``G/L`` can be 10⁹ a litre, as in France. Of a mass concentration it cannot, and is grams
    (a header in capitals).
    """
    plain = _squeezed(unit)
    if plain.rstrip(".") in WHOLE:
        return WHOLE[plain.rstrip(".")]
    plain = re.sub(r"^per(?=[a-z])", "/", plain)
    amount, slash, volume = plain.rpartition("/")
    volume = CONCENTRATION.sub("", volume)
    if slash and volume in VOLUMES:
        return _per_volume(amount, VOLUMES[volume], of_counts=of_counts) or unit.replace(" ", "")
    return re.sub(r"\s", "", unit)


def _squeezed(unit: str) -> str:
    """Lower case, superscripts flat, one micro sign, no spaces; ``·L⁻¹`` as a division."""
    flat = unicodedata.normalize("NFKC", unit.strip()).replace("µ", "u").replace("μ", "u").replace("−", "-")
    flat = re.sub(r"\s+", "", flat.lower().replace("×", "x").replace("·", "."))
    flat = re.sub(r"^(.*?)\.?(d|m|u)?l\^?-1$", r"\1/\2l", flat)
    return re.sub(r"{[^}]*}", "", flat) if re.sub(r"{[^}]*}", "", flat).strip("/") else "1"


def _per_volume(amount: str, volume: str, *, of_counts: bool) -> str | None:
    amount = CONCENTRATION.sub("", amount) if amount not in GRAMS else amount
    if (power := _power(amount, of_counts=of_counts and volume == "L")) is not None:
        return f"10*{power}/{volume}" if power else f"/{volume}"
    for words in (MASSES, ENZYMES, MOLES):
        if amount in words:
            return f"{words[amount]}/{volume}"
    return VOLUMES.get(amount, "") + f"/{volume}" if amount in VOLUMES else None


def _power(amount: str, *, of_counts: bool) -> int | None:
    """The power of ten of a number of cells; None where ``amount`` is no number of cells."""
    if not of_counts and amount in GRAMS:
        return None
    if COUNTED.fullmatch(amount):
        return 0
    if match := POWER.fullmatch(re.sub(r"(cells?|wbc|leuk)$", "", amount)):
        return int(match[1] or match[2])
    if amount in ("1000", "x1000", "x103"):
        return 3
    return THOUSANDS.get(re.sub(r"^x", "", amount) if amount != "x1000" else amount)


@lru_cache(maxsize=1)
def _registry() -> Any:
    return PintUcumRegistry()


@lru_cache(maxsize=256)
def _unit(ucum: str) -> Any:
    return _registry().from_ucum(ucum)


@lru_cache(maxsize=1024)
def factor(unit: str, target: str) -> float | None:
    """What to multiply a value in ``unit`` with to have it in ``target`` (both UCUM); None where they measure different
    things or ``unit`` is unknown.
    """
    try:
        quantity = 1 * _unit(unit)
        return float(quantity.to(_unit(target)).magnitude)
    except (InvalidUcumError, pint.PintError, ValueError, AttributeError, TypeError, KeyError):
        return None
