"""The pictures of the active fusion bundle, for ``docs/results.md``: python -m bench.fusion

Everything measured of the fusion is made when it is learned (``python -m ml.fusion_training``) and lies in its bundle;
this copies the pictures to ``docs/measured/fusion`` and says what each shows.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ml.bundle import find_bundle, load_bundle

TARGET = Path(__file__).resolve().parents[1] / "docs" / "measured" / "fusion"
SHOWS = {
    "log_loss.png": "Held-out log-loss of the fusion, the stacked ensemble and each modality alone, by combination",
    "set_coverage.png": "How often the prediction sets hold the truth, by combination, beside what is promised",
    "risk_coverage.png": "Share wrong among the surest answers, by the share answered",
    "apl_alert.png": "How often the APL alert is raised: in patients with APL, and in the others",
}


def section() -> list[str]:
    """The card's tables, and the pictures that have been copied."""
    bundle = load_bundle(find_bundle("fusion"))
    body = bundle.file("card.md").read_text("utf-8").split("\n", 1)[1].strip().replace("\n## ", "\n### ")
    shown = [f"![{text}](measured/fusion/{name})" for name, text in SHOWS.items() if (TARGET / name).is_file()]
    return [f"## fusion {bundle.version}", "", body, "", *[line for one in shown for line in (one, "")]][:-1]


def main() -> None:
    bundle = load_bundle(find_bundle("fusion"))
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in SHOWS:
        shutil.copyfile(bundle.file(name), TARGET / name)
    print(f"{len(SHOWS)} pictures of {bundle.reference} in {TARGET}")


if __name__ == "__main__":
    main()
