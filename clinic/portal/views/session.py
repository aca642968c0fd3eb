"""Signing in and out, each an event. Whoever fails too often waits, whatever machine asks."""

from datetime import timedelta

from django.contrib.auth import views as auth
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from clinic.accounts.models import User
from clinic.accounts.services import record_failed_login
from clinic.audit.models import Action, AuditEvent
from clinic.audit.services import record
from clinic.portal.forms import SignInForm

FAILURES = 10
WAIT = timedelta(minutes=15)


def _failed_too_often(username):
    known = User.objects.filter(username=username).values_list("pk", flat=True).first()
    failed = AuditEvent.objects.filter(action=Action.LOGIN_FAILED, at__gt=timezone.now() - WAIT)
    return known is not None and failed.filter(object_type="user", object_id=str(known)).count() >= FAILURES


class GuardedSignInForm(SignInForm):
    """Looks at no password once ten have failed within a quarter of an hour; the refused tries do not count."""

    def clean(self):
        if _failed_too_often(self.cleaned_data.get("username", "")):
            raise ValidationError("Too many failed attempts. Wait a quarter of an hour.", code="too_many")
        return super().clean()


class Login(auth.LoginView):
    template_name = "portal/login.html"
    authentication_form = GuardedSignInForm
    redirect_authenticated_user = True

    @transaction.atomic
    def form_valid(self, form):
        response = super().form_valid(form)
        record(Action.LOGIN, by=form.get_user(), obj=form.get_user(), detail={"by": "session"})
        return response

    def form_invalid(self, form):
        if form.has_error("__all__", "invalid_login") or form.has_error("__all__", "inactive"):
            record_failed_login(username=form.data.get("username", ""))
        return super().form_invalid(form)


class Logout(auth.LogoutView):
    @transaction.atomic
    def post(self, request, *args, **kwargs):
        if request.user.is_authenticated:
            record(Action.LOGOUT, by=request.user, obj=request.user)
        return super().post(request, *args, **kwargs)
