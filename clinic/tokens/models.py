import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from clinic.accounts.models import Site


class TokenKind(models.TextChoices):
    LOGIN = "login"  # by name and password; what its owner may do
    PERSONAL = "personal"
    SERVICE = "service"


class AccessToken(models.Model):
    """What a program shows instead of a person's login. Only its hash is kept; its row stays when it is worth nothing.

    ``scopes`` are acts of the access table, with spaces between: the token may do what its user may and they name. A
    login has none, and may do all that its user may.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="access_tokens")
    kind = models.CharField(max_length=20, choices=TokenKind)
    name = models.CharField(max_length=80, blank=True, help_text="What it is for, in its owner's words")
    prefix = models.CharField(max_length=16, help_text="How it begins: enough to tell it from others")
    sha256 = models.CharField(max_length=64, unique=True)
    scopes = models.TextField(blank=True)
    site = models.ForeignKey(Site, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=TokenKind.values), name="token_kind_known"),
            models.CheckConstraint(
                condition=Q(kind="login", scopes="") | (~Q(kind="login") & ~Q(scopes="") & ~Q(name="")),
                name="token_has_name_and_scopes",
            ),
            models.CheckConstraint(condition=~Q(kind="service") | Q(site__isnull=False), name="service_has_a_site"),
        ]
        indexes = [models.Index(fields=["user", "-created_at"])]
        ordering = ["-created_at", "-id"]

    @property
    def scope_list(self):
        return self.scopes.split()

    @property
    def live(self):
        return self.revoked_at is None and self.expires_at > timezone.now()

    def narrow(self, sites, act):
        """Those of ``sites`` at which this token may do ``act``."""
        if self.scopes and act not in self.scope_list:
            return sites.none()
        return sites.filter(pk=self.site_id) if self.site_id else sites
