import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class Role(models.TextChoices):
    TECHNICIAN = "technician"
    CLINICIAN = "clinician"
    INTEGRATOR = "integrator"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Site(models.Model):
    """One laboratory or hospital: what a person may see ends at its door."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    code = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    prior = models.JSONField(
        default=dict, blank=True, help_text="Leaf of the diagnosis tree → prior; empty: the tree's own"
    )

    second_reader = models.BooleanField(
        default=False, help_text="Every signed report is read a second time, by another clinician"
    )

    def __str__(self):
        return self.name


class User(AbstractUser):
    sites = models.ManyToManyField(Site, through="Membership", related_name="users")

    @property
    def display_name(self):
        return self.get_full_name() or self.username


class LoginTries(models.Model):
    """When a password was tried for an account from a place (an address, or a browser that knows the account).

    An empty place counts an account's strangers together, an empty account all that one address tries. Names are kept
    as digests: people type passwords into the wrong field.
    """

    account = models.CharField(max_length=64, blank=True)
    place = models.CharField(max_length=80, blank=True)
    at = models.JSONField(default=list, help_text="Seconds since 1970, oldest first")
    changed_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "place"], name="one_count_per_account_and_place"),
            models.CheckConstraint(condition=~models.Q(account="", place=""), name="tries_of_somebody_or_somewhere"),
        ]


class Membership(models.Model):
    """The one table of who may do what where: a user's role at a site."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "site"], name="one_role_per_user_and_site"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        ]
