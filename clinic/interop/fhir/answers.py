"""What an analysis said, as FHIR: subtype and differential (Observation), candidates (RiskAssessment), Provenance.

The stored assessment is told, nothing is judged anew. It is preliminary until a clinician has signed a report that
agrees with it.
"""

from django.db.models import Exists, OuterRef, Q

from clinic.audit.models import Action
from clinic.cases.models import Assessment, Decision, Finding, SignOff
from clinic.cases.reports import STATEMENT, companions
from clinic.cases.visibility import cases_visible_to
from clinic.interop.fhir.labs import LABORATORY
from clinic.interop.fhir.search import EVERY, Source, by_date, by_reference, by_token, token
from clinic.interop.fhir.structure import (
    CELLS,
    CODES,
    MARROW,
    coding,
    concept,
    diagnosis,
    instant,
    note,
    of_patient,
    reference,
)
from clinic.interop.terminology import UCUM
from clinic.registry.models import ModelBundle
from ml.diagnosis_tree import load_tree

SUBTYPE = concept(coding(CODES, "leukaemia-subtype", "Leukaemia subtype"), text="Leukaemia subtype (decision support)")
DIFFERENTIAL = concept(coding(CODES, "cell-differential", "Cell differential"), text="White cells of the smear images")
ABSENT = concept(
    coding("http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown", "Unknown"), text="Marrow abstained"
)
DATA_ENTRY = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
PREFIX_SUBTYPE, PREFIX_CELLS = "subtype-", "differential-"


def _agreed(path):
    return Exists(SignOff.objects.filter(decision=Decision.AGREE, report__assessment=OuterRef(path)))


def assessments_visible_to(user):
    rows = Assessment.objects.filter(analysis__case__in=cases_visible_to(user))
    return rows.annotate(agreed=_agreed("pk")).select_related("analysis__case__patient__site")


def differentials_visible_to(user):
    rows = Finding.objects.filter(analysis__case__in=cases_visible_to(user), modality="smear_cell")
    rows = rows.filter(analysis__assessment__isnull=False).annotate(agreed=_agreed("analysis__assessment"))
    return rows.select_related("analysis__case__patient__site", "analysis__assessment")


def device(sha256):
    pk = ModelBundle.objects.filter(sha256=sha256).values_list("pk", flat=True).first()
    return reference("Device", pk) if pk else {"display": f"Model bundle {sha256[:12]}"}


def _status(row):
    return "final" if row.agreed else "preliminary"


def _reasons(body):
    return [reason if isinstance(reason, str) else reason.get("message", "") for reason in body["reasons"]]


def subtype_resource(assessment):
    analysis, body = assessment.analysis, assessment.body
    answer = body["answer"]
    value = (
        {"valueCodeableConcept": diagnosis(load_tree().nodes[answer["node"]])}
        if answer
        else {"dataAbsentReason": ABSENT}
    )
    urgent = [said.get("message", "") for said in body["urgent"]]
    return {
        "resourceType": "Observation",
        "id": f"{PREFIX_SUBTYPE}{analysis.pk}",
        "meta": {"lastUpdated": instant(assessment.created_at)},
        "status": _status(assessment),
        "category": [LABORATORY],
        "code": SUBTYPE,
        "subject": of_patient(analysis.case.patient),
        "effectiveDateTime": instant(analysis.requested_at),
        "issued": instant(assessment.created_at),
        "device": device(analysis.bundles.get("fusion", "")),
        **value,
        **note(*urgent, *_reasons(body), STATEMENT),
    }


def differential_resource(finding):
    said, analysis = finding.body["explanation"], finding.analysis
    counts = said.get("differential", {})
    total = sum(counts.values())
    parts = [
        {"code": concept(coding(CELLS, name, name), text=name), "valueQuantity": _percent(n / total)}
        for name, n in counts.items()
    ]
    return {
        "resourceType": "Observation",
        "id": f"{PREFIX_CELLS}{analysis.pk}",
        "meta": {"lastUpdated": instant(finding.created_at)},
        "status": _status(finding),
        "category": [LABORATORY],
        "code": DIFFERENTIAL,
        "subject": of_patient(analysis.case.patient),
        "effectiveDateTime": instant(analysis.requested_at),
        "issued": instant(finding.created_at),
        "device": device(finding.bundle_sha256),
        **({"component": parts} if parts else {"dataAbsentReason": ABSENT}),
        **note(f"Of {total} cells on the images sent; their specimen is not known, so that no LOINC code is claimed."),
    }


def _percent(share):
    return {"value": round(100 * share, 2), "unit": "%", "system": UCUM, "code": "%"}


def risk_resource(assessment):
    """One prediction for each leaf of the tree, the likeliest first: together they are certain."""
    analysis, body, tree = assessment.analysis, assessment.body, load_tree()
    leaves = sorted(
        (leaf for leaf in tree.leaves if leaf in body["probabilities"]), key=lambda x: -body["probabilities"][x]
    )
    candidates = leaves or sorted(body["probabilities"], key=lambda node: -body["probabilities"][node])
    return {
        "resourceType": "RiskAssessment",
        "id": str(analysis.pk),
        "meta": {"lastUpdated": instant(assessment.created_at)},
        "status": _status(assessment),
        "method": concept(coding(CODES, "late-fusion"), text="Calibrated late fusion of the modalities present"),
        "code": SUBTYPE,
        "subject": of_patient(analysis.case.patient),
        "occurrenceDateTime": instant(assessment.created_at),
        "performer": device(analysis.bundles.get("fusion", "")),
        "basis": [reference("Observation", f"{PREFIX_SUBTYPE}{analysis.pk}")],
        "prediction": [
            {"outcome": diagnosis(tree.nodes[node]), "probabilityDecimal": round(body["probabilities"][node], 6)}
            for node in candidates
        ],
        **note(*_reasons(body), STATEMENT),
    }


def provenance_resource(assessment):
    """Which models made it (a Device each), from which files (by SHA-256)."""
    analysis = assessment.analysis
    findings = list(analysis.findings.all())
    spoke = [*(row.bundle_sha256 for row in findings), *companions(findings), analysis.bundles.get("fusion", "")]
    about = [reference("Observation", f"{PREFIX_SUBTYPE}{analysis.pk}"), reference("RiskAssessment", analysis.pk)]
    if any(row.modality == "smear_cell" for row in findings):
        about.append(reference("Observation", f"{PREFIX_CELLS}{analysis.pk}"))
    maker = concept(coding(DATA_ENTRY, "assembler", "Assembler"), text="Model")
    return {
        "resourceType": "Provenance",
        "id": str(analysis.pk),
        "meta": {"lastUpdated": instant(assessment.created_at)},
        "target": about,
        "occurredDateTime": instant(analysis.finished_at),
        "recorded": instant(assessment.created_at),
        "agent": [{"type": maker, "who": device(sha256)} for sha256 in dict.fromkeys(filter(None, spoke))]
        or [{"type": maker, "who": {"display": "Marrow"}}],
        "entity": [
            {
                "role": "source",
                "what": {"identifier": {"system": f"{MARROW}:sha256", "value": item.sha256}, "display": item.kind},
            }
            for item in analysis.items.all()
        ],
    }


OF_PATIENT = by_reference("Patient", "analysis__case__patient")
STATUSES = {"final": Q(agreed=True), "preliminary": Q(agreed=False)}


def _of_code(code):
    return lambda text: EVERY if token(text) in ((None, code), (CODES, code)) else None


def _status_filter(text):
    return STATUSES.get(text)


def _by_target(text):
    """Observation/subtype-…, Observation/differential-… or RiskAssessment/…: all of one analysis."""
    id_ = text.rpartition("/")[2].removeprefix(PREFIX_SUBTYPE).removeprefix(PREFIX_CELLS)
    return by_reference("RiskAssessment", "analysis")(id_)


def _observation(rows, resource, code, prefix, at, key):
    return Source(
        rows=rows,
        resource=resource,
        at=at,
        key=key,
        prefix=prefix,
        recorded_as=Action.ANALYSIS_READ,
        filters={
            "patient": OF_PATIENT,
            "subject": OF_PATIENT,
            "code": _of_code(code),
            "category": lambda text: EVERY if token(text)[1] == "laboratory" else None,
            "status": _status_filter,
            "date": by_date("analysis__requested_at"),
            "_lastUpdated": by_date(at),
        },
    )


SUBTYPES = _observation(
    assessments_visible_to, subtype_resource, "leukaemia-subtype", PREFIX_SUBTYPE, "created_at", "analysis_id"
)
DIFFERENTIALS = _observation(
    differentials_visible_to, differential_resource, "cell-differential", PREFIX_CELLS, "created_at", "analysis_id"
)
RISKS = Source(
    rows=assessments_visible_to,
    resource=risk_resource,
    at="created_at",
    key="analysis_id",
    recorded_as=Action.ANALYSIS_READ,
    filters={
        "patient": OF_PATIENT,
        "subject": OF_PATIENT,
        "status": by_token("status", STATUSES),
        "date": by_date("created_at"),
        "_lastUpdated": by_date("created_at"),
    },
)
PROVENANCES = Source(
    rows=assessments_visible_to,
    resource=provenance_resource,
    at="created_at",
    key="analysis_id",
    recorded_as=Action.ANALYSIS_READ,
    filters={
        "patient": OF_PATIENT,
        "target": _by_target,
        "recorded": by_date("created_at"),
        "_lastUpdated": by_date("created_at"),
    },
)
