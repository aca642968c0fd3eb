"""What people add to a case beside its analysis: comments, their own names for cells, a second reading."""

from django.db import IntegrityError, transaction
from django.utils import timezone

from clinic.accounts.access import require
from clinic.accounts.login import prove_again
from clinic.audit.models import Action
from clinic.audit.services import deny, record
from clinic.cases.models import SignOff
from clinic.errors import Conflict, Denied, InvalidInput
from clinic.review.cells import classes_of, found_cells
from clinic.review.models import CellReview, Comment, SecondReading

COMMENT_MAX = 4000
MEANINGS = {
    True: "I have read this report a second time and agree with what was signed.",
    False: "I have read this report a second time and do not agree with what was signed.",
}


@transaction.atomic
def write_comment(*, case, text, by):
    require(by, "case.view", case.patient.site, obj=case)
    text = text.strip()
    if not text:
        raise InvalidInput("missing", "The comment is empty.", "Write something.", place="text")
    if len(text) > COMMENT_MAX:
        raise InvalidInput("too_long", f"A comment may have {COMMENT_MAX} letters.", "Shorten it.", place="text")
    comment = Comment.objects.create(case=case, by=by, author=by.display_name, text=text)
    record(Action.COMMENT_WRITE, by=by, obj=comment, after={"text": text})
    return comment


@transaction.atomic
def review_cell(*, finding, cell, label, by):
    """Name a cell anew, as feedback; the finding and the assessment stay as they were. ``label`` "" takes it out of
    the count. Raises InvalidInput where the finding has no such cell or class.
    """
    case = finding.analysis.case
    require(by, "report.sign", case.patient.site, obj=case)
    said = found_cells(finding.body).get(cell)
    if said is None:
        raise InvalidInput("unknown_cell", "This analysis found no such cell.", "Open the case again.", place="cell")
    if label and label not in classes_of(finding):
        raise InvalidInput("unknown_class", "There is no such class.", "Choose one from the list.", place="label")
    number = finding.cell_reviews.filter(cell=cell).count() + 1
    fields = {"cell": cell, "model_label": said["label"] or "", "label": label, "number": number}
    try:
        with transaction.atomic():
            review = CellReview.objects.create(finding=finding, by=by, reviewer=by.display_name, **fields)
    except IntegrityError as error:
        raise Conflict("reviewed_now", "Somebody named this cell just now.", "Look again.", place="cell") from error
    record(Action.CELL_REVIEW, by=by, obj=review, case=case, detail=fields)
    return review


def read_second(*, report, by, password, agrees, reason="", code=""):
    """A second clinician agrees with a signed report, or does not and says why; proved again as for the first
    signature. Raises Denied (the first reader, no proof), TooManyTries, Conflict (not signed, read already).
    """
    require(by, "report.sign", report.case.patient.site, obj=report)
    factors = prove_again(by=by, password=password, code=code, act="report.second", obj=report)
    sign_off = SignOff.objects.filter(report=report).first()
    if sign_off is None:
        raise Conflict("report_unsigned", "This report is not signed yet.", "Wait for the first reader.")
    if sign_off.by_id == by.pk:
        deny("report.second", by=by, obj=report, detail={"why": "signed it themselves"})
        raise Denied("same_reader", "You signed this report yourself.", "Another clinician reads it a second time.")
    if not agrees and not reason.strip():
        raise InvalidInput("missing", "To disagree needs a reason.", "Give it, or agree.", place="reason")
    with transaction.atomic():
        reading = _read_once(
            sign_off=sign_off,
            first_by_id=sign_off.by_id,
            by=by,
            reader=by.display_name,
            at=timezone.now(),
            agrees=agrees,
            reason=reason.strip(),
            meaning=MEANINGS[agrees],
            report_digest=sign_off.report_digest,
        )
        said = {"agrees": agrees, "digest": sign_off.report_digest, "factors": factors}
        record(Action.REPORT_SECOND, by=by, obj=report, detail=said)
    return reading


def _read_once(**fields):
    try:
        with transaction.atomic():
            return SecondReading.objects.create(**fields)
    except IntegrityError as error:
        raise Conflict("read_already", "This report was read a second time already.", "Open it again.") from error
