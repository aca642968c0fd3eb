"""How a bundle fares in use: clinicians who agreed with its assessments, and what it would have changed in shadow."""

from collections import Counter

from clinic.cases.models import Decision, SignOff
from clinic.monitoring.drift import wilson
from clinic.monitoring.models import ShadowResult
from ml.diagnosis_tree import load_tree

VERDICT = {1: "better", 0: "", -1: "worse"}


def agreement_of(bundle, sites):
    """Signed assessments at ``sites`` in which this bundle spoke: how many were agreed with, and what overrode them."""
    of_fusion = {f"report__assessment__analysis__bundles__{bundle.name}": bundle.sha256}
    of_finding = {"report__assessment__analysis__findings__bundle_sha256": bundle.sha256}
    signed = SignOff.objects.filter(
        report__case__patient__site__in=sites, **(of_fusion if bundle.name == "fusion" else of_finding)
    )
    rows = list(signed.values_list("pk", "decision", "diagnosis", "report__assessment__answer").distinct())
    counted = [decision for _, decision, _, _ in rows]
    overridden = Counter((said or "abstained", node) for _, decision, node, said in rows if decision != Decision.AGREE)
    return {
        "agreed": wilson(counted.count(Decision.AGREE), len(counted)),
        "overridden": [{"said": said, "signed": node, "n": n} for (said, node), n in overridden.most_common(10)],
    }


def shadow_of(bundle, sites):
    """Every result of a bundle in shadow at ``sites``: how often it changed the answer, and which was right where a
    clinician has signed since.
    """
    results = ShadowResult.objects.filter(bundle_sha256=bundle.sha256, analysis__case__patient__site__in=sites)
    results = results.select_related("analysis__assessment", "analysis__case__patient").order_by("-created_at")
    read = [row for row in results if not row.error]
    changed = [row for row in read if row.answer != row.analysis.assessment.answer]
    signed = dict(
        SignOff.objects.filter(report__assessment__analysis__in=[row.analysis_id for row in changed])
        .exclude(diagnosis="")
        .order_by("at")
        .values_list("report__assessment__analysis_id", "diagnosis")
    )
    rows = [_row(row, signed.get(row.analysis_id, "")) for row in changed]
    return {
        "n": len(read),
        "failed": len(results) - len(read),
        "same": wilson(len(read) - len(changed), len(read)),
        "changed": rows,
        "better": sum(row["verdict"] == "better" for row in rows),
        "worse": sum(row["verdict"] == "worse" for row in rows),
    }


def _row(result, signed):
    spoke = result.analysis.assessment.answer
    right = {name: _agrees(answer, signed) for name, answer in (("spoke", spoke), ("shadow", result.answer))}
    verdict = VERDICT[right["shadow"] - right["spoke"]]
    return {
        "case": result.analysis.case,
        "spoke": spoke,
        "shadow": result.answer,
        "signed": signed,
        "verdict": verdict if signed else "",
    }


def _agrees(answer, signed):
    return bool(answer and signed) and answer in load_tree().path(signed)
