"""The report as PDF, from the same reading of the same frozen text as its page. The same report, the same bytes."""

import importlib.util
import unicodedata
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from PIL import Image, UnidentifiedImageError

from clinic.cases import downloads
from clinic.portal.reading import read_report
from clinic.portal.templatetags import portal as words

FONTS = Path(importlib.util.find_spec("matplotlib").submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
FACES = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
INK, QUIET, LINE = (24, 33, 45), (77, 90, 107), (200, 207, 217)
TONES = {"urgent": (156, 28, 28), "warn": (116, 71, 0), "good": (26, 97, 58), "made": (90, 42, 134)}
PICTURES = 9  # the first of those that the report names
ACROSS = 3
MADE = "SYNTHETIC PATIENT: made by a program, no person."
DRAFT = "DRAFT, NOT SIGNED. Not a diagnosis until a clinician has signed."


def report_pdf(report):
    """The bytes of the PDF of ``report``, with its signature and second reading where it has them."""
    said, sign_off = read_report(report), getattr(report, "sign_off", None)
    paper = Paper(report, signed=sign_off is not None)
    _head(paper, report, said, sign_off)
    _answer(paper, said)
    _evidence(paper, said)
    _findings(paper, said)
    _inputs(paper, report.body)
    _pictures(paper, said)
    _models(paper, said)
    _signature(paper, report, sign_off)
    return bytes(paper.output())


def clean(text):
    """``text`` without what a page would not show or would show as something else: controls and direction marks."""
    kept = (
        c if c == "\n" or unicodedata.category(c)[0] != "C" else " " for c in unicodedata.normalize("NFC", str(text))
    )
    return "".join(kept)


class Paper(FPDF):
    """A4 with our head and foot. Dates are the report's: nothing of the moment of printing gets in."""

    def __init__(self, report, *, signed):
        super().__init__(format="A4")
        self.report, self.signed = report, signed
        self.set_margins(18, 16, 18)
        self.set_auto_page_break(auto=True, margin=20)
        for style, file in FACES.items():
            self.add_font("Text", style, FONTS / file)
        self.set_creation_date(datetime.fromisoformat(report.body["created"]).astimezone(UTC))
        self.set_title(f"Report {report.pk}, version {report.version}")
        self.set_creator("Marrow")
        self.set_producer("Marrow")
        self.set_lang("en-GB")
        self.add_page()

    def header(self):
        marks = [MADE] * bool(self.report.body["patient"]["synthetic"]) + [DRAFT] * (not self.signed)
        for mark in marks:
            self.say(mark, size=8, bold=True, colour=TONES["made" if mark == MADE else "warn"])
        if marks:
            self.ln(1)

    def footer(self):
        self.set_y(-15)
        patient = self.report.body["patient"]
        self.say(f"{self.report.body['statement']} For research use only.", size=7, colour=QUIET)
        line = f"{patient['name']} · {patient['mrn']} · version {self.report.version} · page {self.page_no()} of {{nb}}"
        self.say(line, size=7, colour=QUIET)

    def say(self, text, *, size=9.5, bold=False, colour=INK, indent=0):
        self.set_font("Text", "B" if bold else "", size)
        self.set_text_color(*colour)
        self.set_x(self.l_margin + indent)
        self.multi_cell(0, size * 0.5, clean(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")

    def heading(self, text):
        self.ln(2.5)
        self.say(text, size=11.5, bold=True)
        self.set_draw_color(*LINE)
        self.line(self.l_margin, self.get_y() + 0.5, self.w - self.r_margin, self.get_y() + 0.5)
        self.ln(1.5)

    def note(self, text, tone):
        """A paragraph with a coloured bar before it."""
        top, page = self.get_y(), self.page_no()
        self.say(text, colour=TONES[tone], indent=4)
        if self.page_no() == page:
            with self.local_context():  # a colour that stayed would fill the tables after it
                self.set_fill_color(*TONES[tone])
                self.rect(self.l_margin, top, 1.2, self.get_y() - top, style="F")
        self.ln(1.5)

    def rows(self, heads, rows, widths):
        """A table; a page break repeats its heads."""
        self.set_font("Text", "", 8)
        self.set_text_color(*INK)
        self.set_draw_color(*LINE)
        with self.table(
            col_widths=widths, line_height=4.2, borders_layout="HORIZONTAL_LINES", text_align="LEFT"
        ) as table:
            for row in (heads, *rows):
                table.row([clean(cell) for cell in row])
        self.ln(1)


def _head(paper, report, said, sign_off):
    patient, case = report.body["patient"], report.body["case"]
    paper.say(f"Report, version {report.version}", size=15, bold=True)
    born = f"{said['born']:%-d %B %Y}" if said["born"] else "unknown"
    state = f"Signed by {sign_off.signer}, {_moment(sign_off.at)}" if sign_off else "Not signed"
    stated = sign_off.diagnosis if sign_off else ""
    facts = (
        ("Name", patient["name"]),
        ("Record number", patient["mrn"]),
        ("Born", born),
        ("Sex", patient["sex"].capitalize()),
        ("Site", report.body["site"]["name"]),
        ("Drafted", _moment(said["created"])),
        ("State", state),
        *[("Diagnosis stated", words.node_name(stated))] * bool(stated),
        *[("Asked", case["title"])] * bool(case["title"]),
        *[("History", case["history"])] * bool(case["history"]),
    )
    paper.ln(1)
    for name, value in facts:
        paper.say(f"{name}: {value}")
    if report.amends:
        paper.note(f"Amends version {report.amends.version}: {report.amendment_reason}", "warn")


def _answer(paper, said):
    body = said["body"]
    for alert in body["urgent"]:
        more = f" Excluded by: {'; '.join(alert['excluded_by'])}." if alert.get("excluded_by") else ""
        paper.note(f"URGENT. {alert['message']}{more}", "urgent")
    for one in body["discordance"]:
        paper.note(f"The results disagree. {one['message']}", "warn")
    paper.heading("Assessment")
    if body["answer"]:
        paper.say(f"{body['answer']['name']}   {words.percent(body['answer']['probability'])}", size=13, bold=True)
        paper.say(
            " › ".join(f"{words.node_name(step['node'])} {words.percent(step['share'])}" for step in said["trail"])
        )
    else:
        paper.say("These results do not support an answer.", size=13, bold=True)
    for reason in body["reasons"]:
        paper.say(f"• {reason['message']}")
    names = ", ".join(words.node_name(node) for node in body["prediction_set"])
    paper.say(f"Prediction set (holds the diagnosis in {words.percent(body.get('coverage'))} of such cases): {names}")


def _evidence(paper, said):
    if not said["comparisons"]:
        return
    paper.heading("What speaks for and against")
    for one in said["comparisons"]:
        steps = [(step["label"], step["factor"]) for step in one["steps"]]
        before, after = (words.percent(one[end]["share"]) for end in ("before", "after"))
        rows = [("Before any result", before), *steps, ("After all results", after)]
        paper.rows((one["name"], "Odds"), rows, (3, 1))


def _findings(paper, said):
    paper.heading("Findings")
    for one in said["findings"]:
        body = one["body"]
        share = words.percent(body["probabilities"].get(body["label"])) if body["label"] else ""
        says = (
            f"{words.node_name(body['label'])} {share}" if body["label"] else "nothing: the input could not be judged"
        )
        paper.say(f"{words.modality_name(body['modality'])}: {says}", bold=True)
        paper.say(f"Resembles the training data: {words.percent(body['in_scope'])}. {body['bundle']}", colour=QUIET)
        for line in (*(flag["message"] for flag in body["quality"]), *one["reasons"]):
            paper.say(f"• {line}")


def _inputs(paper, body):
    paper.heading("Files read")
    rows = [
        (words.modality_name(item["kind"]), item["filename"], f"{item['size']:,} bytes", item["sha256"][:16])
        for item in body["items"]
    ]
    paper.rows(("Kind", "File", "Size", "SHA-256"), rows, (2, 4, 2, 2))


def _pictures(paper, said):
    shown = [(one, picture) for one in said["pictures"][:PICTURES] if (picture := _picture(one["sha256"]))]
    if not shown:
        return
    paper.heading("Explanation pictures")
    paper.say("Warm colours mark where the model looked (Grad-CAM), not why it is right.", size=8, colour=QUIET)
    width = (paper.w - paper.l_margin - paper.r_margin - (ACROSS - 1) * 4) / ACROSS
    for start in range(0, len(shown), ACROSS):
        row = shown[start : start + ACROSS]
        if paper.get_y() + width + 14 > paper.h - paper.b_margin:
            paper.add_page()
        top = paper.get_y() + 1
        for k, (one, picture) in enumerate(row):
            left = paper.l_margin + k * (width + 4)
            paper.image(picture, left, top, width, width, keep_aspect_ratio=True)
            paper.set_xy(left, top + width + 1)
            paper.set_font("Text", "", 6.5)
            paper.set_text_color(*QUIET)
            paper.multi_cell(width, 3, clean(one["caption"])[:90], align="L")
        paper.set_y(top + width + 9)


def _picture(sha256):
    """A picture of the store, drawn again from its pixels alone; None where the store no longer has it."""
    try:
        image = Image.open(BytesIO(downloads.whole(sha256))).convert("RGB")
    except (OSError, UnidentifiedImageError):
        return None
    return image


def _models(paper, said):
    paper.heading("Models, intended use and limits")
    for bundle in said["bundles"]:
        paper.say(f"{bundle['name']} {bundle['version']}   {bundle['sha256'][:16]}", bold=True)
        if bundle["intended_use"]:
            paper.say(bundle["intended_use"])
        for limit in bundle["limits"] or []:
            paper.say(f"• {limit}", size=8.5)
    paper.say(f"Diagnosis tree {said['body'].get('versions', {}).get('tree', '')}", colour=QUIET)


def _signature(paper, report, sign_off):
    paper.heading("Signature")
    if sign_off is None:
        paper.say(DRAFT, bold=True, colour=TONES["warn"])
    else:
        paper.note(f"{sign_off.signer}, {_moment(sign_off.at)}\n{sign_off.meaning}", "good")
        if sign_off.diagnosis:
            paper.say(f"Diagnosis stated: {words.node_name(sign_off.diagnosis)}", bold=True)
        if sign_off.reason:
            paper.say(f"Reason: {sign_off.reason}")
        if second := getattr(sign_off, "second_reading", None):
            reason = f"\nReason: {second.reason}" if second.reason else ""
            tone = "good" if second.agrees else "warn"
            paper.note(f"Second reader: {second.reader}, {_moment(second.at)}\n{second.meaning}{reason}", tone)
    paper.say(f"Content of this report: SHA-256 {report.digest}", size=7.5, colour=QUIET)


def _moment(at):
    return f"{at.astimezone(UTC):%-d %B %Y, %H:%M} UTC"
