"""What the bundles' cards say, and the sets they were trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml.calibration import interval_text

if TYPE_CHECKING:
    from pathlib import Path

RESEARCH = "research use"
DATA_ALL = {
    "name": "ALL and normal RNA-seq (GSE227832, GSE228632, GSE133499, T-ALL cohort 7/8, normal controls), log10 CPM",
    "licence": RESEARCH,
    "n": 620,
    "source": "NCBI GEO",
}
DATA_AML = {
    "name": "TCGA-LAML, log2 TPM",
    "licence": "TCGA open access",
    "n": 105,
    "source": "doi:10.1056/NEJMoa1301689",
}
DATA_RAW = {"name": "GSE228632 raw counts (judged only)", "licence": RESEARCH, "n": 65, "source": "NCBI GEO"}
GENES = {
    "name": "Ensembl 103 gene annotation",
    "licence": "Ensembl, no restrictions",
    "n": 3382,
    "source": "ensembl.org",
}
DATA_LABS = {
    "name": "Two French centres, routine labs at diagnosis",
    "licence": "MIT",
    "n": 679,
    "source": "Alcazer et al. 2024, Lancet Digital Health",
}


def write_card(folder: Path, manifest: dict[str, Any]) -> None:
    """``card.md`` of a bundle: its manifest, for people."""
    lines = [
        f"# {manifest['name']} {manifest['version']}",
        "",
        f"**For {manifest['licence']}.** {manifest['intended_use']}",
    ]
    lines += [
        "",
        "## Labels",
        "",
        "| label | share of the training set | leaves of the diagnosis tree |",
        "|---|---|---|",
    ]
    lines += [f"| {k} | {v['training_share']:.3f} | {', '.join(v['leaves'])} |" for k, v in manifest["labels"].items()]
    lines += ["", "## Figures", "", "| split | n | data | figure |", "|---|---|---|---|"]
    lines += [
        f"| {name} ({m['split']}) | {m['n']} | {m['data']} | {_figure(m)} |" for name, m in manifest["metrics"].items()
    ]
    lines += ["", "Baselines: " + "; ".join(f"{k}: {_plain(v)}" for k, v in manifest["baselines"].items())]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in manifest["limits"])]
    lines += [
        "",
        "## Training",
        "",
        f"`{manifest['trained']['command']}`, {manifest['trained']['minutes']} minutes.",
        "",
    ]
    lines += [f"- {d['name']}: n = {d['n']}; {d['licence']}; {d['source']}" for d in manifest["data"]]
    (folder / "card.md").write_text("\n".join(lines) + "\n", "utf-8")


def _figure(metrics: dict[str, Any]) -> str:
    if "figures" not in metrics:
        return _plain({k: v for k, v in metrics.items() if k not in ("n", "data", "split")})
    figures = metrics["figures"]
    shown = ("accuracy", "balanced_accuracy", "auc_macro", "log_loss", "ece")
    return ", ".join(f"{k} {interval_text(figures[k])}" for k in shown)


def _plain(said: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in said.items())
