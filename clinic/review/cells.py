"""The cells that an analysis found, under the names that people gave some of them since; the model's stay beside."""

from collections import Counter

from clinic.registry.models import ModelBundle
from ml.differential import blast_share


def found_cells(body):
    """Cell id → what the model said of it: single-cell images, or the white cells of fields."""
    explanation = body.get("explanation") or {}
    cells = explanation.get("cells") or (explanation.get("white_cells") or {}).get("cells") or []
    return {cell["id"]: cell for cell in cells}


def classes_of(finding):
    """The classes that the model which named the cells can tell apart."""
    explanation = finding.body.get("explanation") or {}
    sha256 = (explanation.get("white_cells") or {}).get("bundle_sha256", finding.bundle_sha256)
    bundle = ModelBundle.objects.filter(sha256=sha256).first()
    known = (bundle.manifest.get("head_labels") or {}).get("image", []) if bundle else []
    return sorted({*known, *(cell["label"] for cell in found_cells(finding.body).values() if cell["label"])})


def reviewed(finding):
    """Cell id → the newest review of it; the rows may have been prefetched."""
    return {review.cell: review for review in sorted(finding.cell_reviews.all(), key=lambda row: row.number)}


def differential(body, reviews):
    """Class → (count by the model, count as reviewed), the most frequent as reviewed first."""
    model = Counter(cell["label"] for cell in found_cells(body).values() if cell["label"])
    now = Counter(label for label in labels_now(body, reviews) if label)
    return [(label, model[label], now[label]) for label in sorted(model | now, key=lambda name: (-now[name], name))]


def labels_now(body, reviews):
    """The label of every cell found, as reviewed."""
    return [reviews[pk].label if pk in reviews else cell["label"] for pk, cell in found_cells(body).items()]


def blasts_now(body, reviews):
    """Blasts and equivalents as reviewed, with the interval of counting."""
    return blast_share(labels_now(body, reviews))
