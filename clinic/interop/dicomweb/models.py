import uuid

from django.db import models

from clinic.accounts.models import Site
from clinic.cases.models import Case, StudyItem


class DicomStudy(models.Model):
    """A DICOM study as a site sent it; its instances are items of one case."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="dicom_studies")
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="dicom_studies")
    uid = models.CharField(max_length=64)
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "uid"], name="study_uid_unique_per_site")]


class DicomInstance(models.Model):
    """Where an item lies in DICOM's own order. ``header``: the attributes that are kept, as DICOM JSON."""

    study = models.ForeignKey(DicomStudy, on_delete=models.PROTECT, related_name="instances")
    item = models.OneToOneField(StudyItem, on_delete=models.PROTECT, related_name="dicom")
    series_uid = models.CharField(max_length=64)
    sop_uid = models.CharField(max_length=64)
    sop_class = models.CharField(max_length=64)
    modality = models.CharField(max_length=16, blank=True)
    study_date = models.CharField(max_length=8, blank=True)
    accession = models.CharField(max_length=64, blank=True)
    referring = models.CharField(max_length=64, blank=True)
    study_time = models.CharField(max_length=16, blank=True)
    study_number = models.CharField(max_length=16, blank=True)
    series_number = models.CharField(max_length=12, blank=True)
    instance_number = models.CharField(max_length=12, blank=True)
    header = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "sop_uid"], name="sop_uid_unique_per_study")]
        indexes = [models.Index(fields=["series_uid"]), models.Index(fields=["sop_uid"])]
