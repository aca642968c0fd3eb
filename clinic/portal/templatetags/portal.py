"""How values read on a page."""

import json
from datetime import date

from django import template
from django.utils import timezone
from django.utils.timesince import timesince

from clinic.accounts import access
from clinic.audit.words import words_of
from ml.diagnosis_tree import load_tree
from ml.findings import percent as in_words

register = template.Library()

TONES = {
    "analysing": "info",
    "queued": "info",
    "running": "info",
    "failed": "danger",
    "rejected": "danger",
    "assessed": "good",
    "succeeded": "good",
    "valid": "good",
    "abstained": "info",
    "checking": "info",
    "received": "info",
    "signed": "good",
}
MODALITY_NAMES = {
    "smear_field": "Smear fields",
    "smear_cell": "Single cells",
    "expression": "Gene expression",
    "labs": "Laboratory values",
    "history": "Clinical history",
}
UNITS = {
    "10*9/L": "× 10⁹/L",
    "10*12/L": "× 10¹²/L",
    "a": "years",
    "1": "",
    "ug/L": "µg/L",
    "g%/L": "% × g/L",
    "U/10*9": "U per 10⁹",
}
STEP_NAMES = {"not_aml": "ALL or no leukaemia", "aml": "AML"}
ABBREVIATIONS = {
    "auc_macro": "AUC, macro",
    "f1_macro": "F1, macro",
    "ece": "Calibration error (ECE)",
    "brier": "Brier score",
}
BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrom", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)
SEEN = {
    "format": "{}",
    "scale": "scale {}",
    "id_type": "{} ids",
    "genes": "{} genes",
    "characters": "{} characters",
}


@register.filter
def percent(share):
    """A probability, "–" where there is none."""
    return "–" if share in (None, "") else in_words(share).replace("%", " %")


@register.filter
def may(user, act):
    return access.may(user, act)


@register.filter
def lookup(key, table):
    return table.get(key, key)


@register.filter
def act_words(action):
    """An act of the log in words."""
    return words_of(action)


@register.filter
def split_name(name):
    """What a figure was measured on; a combination of inputs by their names: "smear_cell+labs"."""
    what, _, kinds = name.rpartition(": ")
    known = [MODALITY_NAMES[kind].lower() for kind in kinds.split("+") if kind in MODALITY_NAMES]
    if len(known) != len(kinds.split("+")):
        return name[:1].upper() + name[1:]
    return f"{what[:1].upper()}{what[1:]}: {' + '.join(known)}"


@register.filter
def browser_name(agent):
    """A browser and its system out of what it says of itself; a program stays as it names itself."""
    browser = next((name for mark, name in BROWSERS if mark in agent), "")
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    return " on ".join(part for part in (browser, system) if part) or agent[:60] or "an unnamed program"


@register.filter
def state_tone(state):
    return TONES.get(state, "")


@register.filter
def node_name(node):
    """The name of a node of the diagnosis tree; an id that this tree no longer has stays as it is."""
    known = load_tree().nodes.get(node)
    return known.name if known else node


@register.filter
def modality_name(modality):
    return MODALITY_NAMES.get(modality, modality)


@register.filter
def age(patient):
    """Age in whole years today, in months below two years."""
    born = patient.birth_date if not isinstance(patient.birth_date, str) else date.fromisoformat(patient.birth_date)
    today = timezone.localdate()
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    return f"{months // 12} years" if months >= 24 else f"{months} months"


@register.filter
def ago(moment):
    """How long since, by its largest unit."""
    return f"{timesince(moment, depth=1)} ago"


@register.filter
def at(rows, index):
    return rows[index]


@register.filter
def points(share):
    """A difference of two shares."""
    return f"{share * 100:+.0f} points".replace("-", "\N{MINUS SIGN}")


@register.filter
def short_number(value):
    return "–" if value is None else f"{round(value, 2):.10g}"


@register.filter
def unit_text(unit):
    return UNITS.get(unit, unit)


@register.filter
def short(digest):
    return digest[:12]


@register.filter
def coordinate(number):
    """A number in an SVG: a point, never a comma."""
    return f"{number:.2f}"


@register.filter
def signed(number):
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")


@register.filter
def duration(seconds):
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@register.filter
def stage_text(stage):
    """The worker's stage ("smear_field: reading") in words."""
    modality, colon, step = (stage or "starting").partition(":")
    return f"{modality_name(modality)}: {step.strip()}" if colon else modality.capitalize()


@register.filter
def words(name):
    text = name.replace("_", " ")
    return ABBREVIATIONS.get(name, text[:1].upper() + text[1:])


@register.filter
def indented(body):
    return json.dumps(json.loads(body), indent=1, ensure_ascii=False)


@register.filter
def measure(number):
    """A measured number without noise: at most four significant digits."""
    return f"{number:.4g}" if abs(number) < 10_000 else f"{number:,.0f}"


@register.filter
def times(number, factor):
    return number * factor


@register.filter
def across(box):
    """The width of a box (top, left, bottom, right), as a coordinate."""
    return coordinate(box[3] - box[1])


@register.filter
def down(box):
    return coordinate(box[2] - box[0])


@register.filter
def odds(number):
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


@register.filter
def item(table, key):
    return table.get(key)


@register.filter
def as_json(value):
    """For a data attribute; the template escapes it."""
    return json.dumps(value)


@register.filter
def summary_text(item):
    """What the reader saw of an accepted file, in a line."""
    seen = item.summary
    parts = [form.format(seen[key]) for key, form in SEEN.items() if seen.get(key) not in (None, "", [], {})]
    if seen.get("width"):
        parts.append(f"{seen['width']} × {seen['height']} pixels")
    if seen.get("frames", 1) > 1:
        parts.append(f"{seen['frames']} frames")
    if len(seen.get("samples", [])) == 1:
        parts.append(f"sample {seen['samples'][0]}")
    if seen.get("analytes"):
        parts.append(f"{len(seen['analytes'])} values")
    if seen.get("unused"):
        parts.append(f"not used: {', '.join(seen['unused'])}")
    return " · ".join(parts)


@register.filter
def step_name(label):
    return STEP_NAMES.get(label, label)


@register.filter
def notes(summary):
    """What the reader noticed of an accepted file: its sentences, or its code in words."""
    return [flag["message"] if isinstance(flag, dict) else words(flag) for flag in summary.get("flags", [])]
