"""Who may do what: one table, one question. Unknown acts and roles are denied."""

from clinic.accounts.models import Membership, Role, Site
from clinic.audit.services import deny
from clinic.errors import Denied

READ = {"case.view", "case.create", "item.upload", "analysis.request"}
ACTS_OF_ROLE = {
    Role.TECHNICIAN: READ,
    Role.INTEGRATOR: READ,
    Role.CLINICIAN: READ | {"report.sign", "glass.break"},
    Role.AUDITOR: {"audit.view", "monitoring.view"},
    Role.ADMIN: {"audit.view", "monitoring.view", "user.manage", "model.manage", "inference.halt"},
}


def roles_with(*acts):
    """The roles that include all these acts."""
    return [role for role, may_do in ACTS_OF_ROLE.items() if may_do.issuperset(acts)]


def sites_where(user, act):
    """The sites at which ``user`` may do ``act``, as a queryset."""
    roles = roles_with(act)
    if not user.is_active:
        return Site.objects.none()
    sites = Site.objects.filter(memberships__in=Membership.objects.filter(user=user.pk, role__in=roles))
    token = getattr(user, "token", None)  # of this request; it may do no more than its scopes and site say
    return token.narrow(sites, act) if token else sites


def acts_of(user):
    """Every act that ``user`` may do at some site: what a menu asks."""
    rows = Membership.objects.filter(user=user.pk).values_list("role", flat=True)
    return acts_of_roles(rows) if user.is_active else set()


def acts_of_roles(roles):
    return set().union(*(ACTS_OF_ROLE.get(role, set()) for role in roles))


def may(user, act, site=None):
    """Whether ``user`` may do ``act`` at ``site``, or at any site where none is named."""
    sites = sites_where(user, act)
    return (sites.filter(pk=site.pk) if site else sites).exists()


def may_manage(user, person):
    """Whether ``user`` administers a site where ``person`` has a role, or ``person`` has none anywhere yet."""
    sites = sites_where(user, "user.manage")
    theirs = Membership.objects.filter(user=person)
    return theirs.filter(site__in=sites).exists() or (sites.exists() and not theirs.exists())


def require(user, act, site=None, obj=None):
    """Raise Denied, and write the refusal down, unless ``user`` may do ``act`` (at ``site``)."""
    if not may(user, act, site):
        deny(act, by=user, obj=obj, site=site)
        raise Denied("not_allowed", "Your role does not include this.", "Ask the administrator of your site.")
