import uuid

from django.conf import settings
from django.db import models
from django.db.models import Value
from django.db.models.functions import Concat, Lower

from clinic.accounts.models import Site


class Sex(models.TextChoices):
    FEMALE = "female"
    MALE = "male"
    OTHER = "other"
    UNKNOWN = "unknown"


class Patient(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="patients")
    mrn = models.CharField("medical record number", max_length=64)
    name = models.CharField(max_length=200)
    birth_date = models.DateField(null=True, blank=True)
    sex = models.CharField(max_length=10, choices=Sex, default=Sex.UNKNOWN)
    synthetic = models.BooleanField(default=False, help_text="Made by a program; no person")
    search = models.GeneratedField(
        expression=Lower(Concat(Value(" "), "name", Value(" "), "mrn")),
        output_field=models.CharField(max_length=270),
        db_persist=True,
        help_text="What is searched: each word after a space, so that a short one can be looked for by its beginning",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "mrn"], name="mrn_unique_per_site"),
            models.CheckConstraint(condition=~models.Q(mrn=""), name="patient_has_mrn"),
            models.CheckConstraint(condition=models.Q(sex__in=Sex.values), name="patient_sex_known"),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"]),
            models.Index(fields=["name", "id"], name="patient_by_name"),
            models.Index(fields=["site", "created_at", "id"], name="patient_by_age"),
        ]

    def __str__(self):
        return f"{self.name} ({self.mrn})"
