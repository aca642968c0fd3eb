"""_include: what the matches refer to, on the same page, as far as the user may see it."""

from clinic.interop.fhir.kinds import SOURCES
from clinic.interop.fhir.outcome import NotUnderstood

REFERENCES = {  # search parameter → the references that it stands for in a resource
    "patient": lambda one: [one.get("subject", {})],
    "subject": lambda one: [one.get("subject", {})],
    "device": lambda one: [one.get("device", {})],
    "performer": lambda one: [one.get("performer", {})],
    "result": lambda one: one.get("result", []),
    "target": lambda one: one.get("target", []),
    "agent": lambda one: [agent["who"] for agent in one.get("agent", [])],
}
INCLUDED = {
    "Observation": ("patient", "subject", "device"),
    "DiagnosticReport": ("patient", "subject", "result"),
    "RiskAssessment": ("patient", "subject", "performer"),
    "Provenance": ("target", "agent"),
    "ImagingStudy": ("patient", "subject"),
}


def names_of(kind):
    return [f"{kind}:{name}" for name in INCLUDED.get(kind, ())]


def included(kind, matches, asked, user):
    """The resources that ``matches`` refer to by what ``asked`` (texts of _include) names. Raises NotUnderstood."""
    wanted = {}
    for references in [_references(kind, name) for name in asked]:
        for match in matches:
            for reference in references(match):
                of, _, id_ = reference.get("reference", "").partition("/")
                wanted.setdefault(of, set()).add(id_)
    here = {(kind, one["id"]) for one in matches}
    found = [one for of, ids in wanted.items() for source in SOURCES.get(of, ()) for one in _rows(source, ids, user)]
    return [one for one in found if (one["resourceType"], one["id"]) not in here]


def _references(kind, name):
    known = names_of(kind)
    plain = ":".join(name.split(":")[:2])  # a third part names the target's type, which each of ours has one of
    if plain not in known:
        problem = f"{kind} cannot include {name[:60]!r}."
        raise NotUnderstood("unknown_include", problem, f"Use {', '.join(known) or 'none'}.", place="_include")
    return REFERENCES[plain.partition(":")[2]]


def _rows(source, ids, user):
    keys = [pk for pk in map(source.pk_of, ids) if pk is not None]
    return [source.resource(row) for row in source.rows(user).filter(**{f"{source.key}__in": keys})] if keys else []
