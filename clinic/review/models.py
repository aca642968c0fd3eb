import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from clinic.cases.models import Case, Finding, SignOff

USER = settings.AUTH_USER_MODEL


class Comment(models.Model):
    """What somebody wrote on a case for the others. It is never changed: a correction is another comment."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="comments")
    by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    author = models.CharField(max_length=200, help_text="Name as it was on the day")
    at = models.DateTimeField(auto_now_add=True)
    text = models.TextField()

    class Meta:
        constraints = [models.CheckConstraint(condition=~Q(text=""), name="comment_says_something")]
        ordering = ["at", "id"]


class CellReview(models.Model):
    """A person's name for one cell in place of the model's. The finding stays as it was; the newest review counts.

    ``label`` is empty where the person says that it is no cell to be counted.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    finding = models.ForeignKey(Finding, on_delete=models.PROTECT, related_name="cell_reviews")
    cell = models.CharField(max_length=120)
    model_label = models.CharField(max_length=60, blank=True)
    label = models.CharField(max_length=60, blank=True)
    number = models.PositiveIntegerField(help_text="1, 2, … of this cell")
    by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    reviewer = models.CharField(max_length=200)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["finding", "cell", "number"], name="cell_reviews_are_numbered"),
            models.CheckConstraint(condition=Q(number__gte=1), name="cell_reviews_start_at_one"),
        ]
        ordering = ["at", "number"]


class SecondReading(models.Model):
    """A second clinician's reading of a signed report, where the site wants one: never by the one who signed."""

    sign_off = models.OneToOneField(SignOff, on_delete=models.PROTECT, related_name="second_reading")
    first_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    reader = models.CharField(max_length=200, help_text="Name as it was on the day")
    at = models.DateTimeField()
    agrees = models.BooleanField()
    reason = models.TextField(blank=True)
    meaning = models.CharField(max_length=200)
    report_digest = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(by=F("first_by")), name="second_reader_is_another_person"),
            models.CheckConstraint(condition=Q(agrees=True) | ~Q(reason=""), name="to_disagree_needs_a_reason"),
        ]
