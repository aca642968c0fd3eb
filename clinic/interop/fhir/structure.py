"""FHIR R4 in the words of ``fhir.resources`` (its R4B models): nothing goes out, and nothing comes in, unvalidated.

The models are imported when first used: they take about a second, which no other page should wait for.
"""

import importlib
import re
from functools import lru_cache

from clinic.errors import InvalidInput

MARROW = "urn:marrow"
TREE = f"{MARROW}:diagnosis-tree"
CODES = f"{MARROW}:codes"
CELLS = f"{MARROW}:cell-class"
SYSTEMS = {
    "icd_o_3": "http://terminology.hl7.org/CodeSystem/icd-o-3",
    "icd_10": "http://hl7.org/fhir/sid/icd-10",
    "snomed_ct": "http://snomed.info/sct",
}
MOST_ISSUES = 20


class NotFhir(InvalidInput):
    """The body breaks the rules of its resource type; ``issues`` are (FHIRPath, what is wrong)."""

    status = 400

    def __init__(self, issues):
        place, problem = issues[0]
        super().__init__("structure", problem, "See the resource's definition in FHIR R4.", place=place)
        self.issues = issues


@lru_cache(maxsize=64)
def _model(kind):
    library = importlib.import_module("fhir.resources.R4B")
    return library.get_fhir_model_class(kind)


def validated(resource):
    """``resource`` as it is, once its model has accepted it. A refusal here is our own bug, and is raised as one."""
    _model(resource["resourceType"]).model_validate(resource)
    return resource


def accepted(data, kind):
    """What a client sent, as plain JSON, once the model of ``kind`` has accepted it. Raises NotFhir."""
    if not isinstance(data, dict) or data.get("resourceType") != kind:
        said = data.get("resourceType") if isinstance(data, dict) else None
        raise NotFhir([(kind, f"A resource of type {kind} was expected, not {str(said)[:60] or 'none'}.")])
    try:
        _model(kind).model_validate(data)
    except KeyError as unknown:  # the library's answer to an unknown type inside a Bundle
        raise NotFhir([(f"{kind}.entry", f"There is no resource type {str(unknown)[:80]}.")]) from None
    except ValueError as broken:
        raise NotFhir(_issues(broken, kind)) from None
    except RecursionError:
        raise NotFhir([(kind, "This is nested too deeply.")]) from None
    return data


def _issues(broken, kind):
    faults = broken.errors(include_url=False, include_context=False) if hasattr(broken, "errors") else []
    said = [(_path(kind, fault["loc"]), fault["msg"]) for fault in faults[:MOST_ISSUES]]
    return said or [(kind, "This is no valid resource.")]


def _path(kind, parts):
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return kind + re.sub(r"[^\w.\[\]-]", "", path)[:200]


# --- the few data types that everything is made of ----------------


def instant(moment):
    return moment.isoformat(timespec="milliseconds")


def coding(system, code, display=None):
    return {"system": system, "code": code} | ({"display": display} if display else {})


def concept(*codings, text):
    return {"coding": list(codings), "text": text}


def reference(kind, pk, display=None):
    return {"reference": f"{kind}/{pk}"} | ({"display": display} if display else {})


def of_patient(patient):
    return reference("Patient", patient.pk, patient.mrn)


def diagnosis(node):
    """A node of the diagnosis tree: by its own id, and by the codes of which the tree is sure."""
    codings = [coding(SYSTEMS[name], code) for name, code in node.codes.items()]
    return concept(coding(TREE, node.id, node.name), *codings, text=node.name)


def note(*texts):
    return {"note": [{"text": text} for text in texts if text]} if any(texts) else {}
