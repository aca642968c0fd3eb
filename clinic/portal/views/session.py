"""Signing in and out, and one's own account: sessions, password. Second factors are allauth's pages (accounts/urls)."""

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login as Entering
from allauth.account.utils import get_next_redirect_url
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth import logout as forget
from django.contrib.auth import update_session_auth_hash
from django.db import transaction
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.generic import FormView

from clinic.accounts import sessions
from clinic.accounts.login import check_password, has_second_factor, single_sign_on
from clinic.accounts.services import change_own_password
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases.visibility import find
from clinic.errors import MarrowError
from clinic.portal.forms import PasswordForm, SignInForm, put_beside
from clinic.portal.guard import signed_in


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class Login(FormView):
    """Name and password; allauth then asks for the second factor where there is one, and opens the session."""

    template_name = "portal/login.html"
    form_class = SignInForm

    def get(self, request, *args, **kwargs):
        return redirect("portal:home") if request.user.is_authenticated else super().get(request, *args, **kwargs)

    def get_context_data(self, **kwargs):
        url = get_next_redirect_url(self.request, "next") or ""
        return super().get_context_data(next=url, single_sign_on=single_sign_on(), **kwargs)

    def form_valid(self, form):
        said = form.cleaned_data
        try:
            user = check_password(request=self.request, **said)
        except MarrowError as error:
            form.add_error(None, error.detail)
            return self.form_invalid(form)
        entering = Entering(user=user, redirect_url=get_next_redirect_url(self.request, "next"))
        return perform_password_login(self.request, {"username": user.username}, entering)


login = Login.as_view()


@require_POST
@transaction.atomic
def logout(request):
    if request.user.is_authenticated:
        record(Action.LOGOUT, by=request.user, obj=request.user)
        UserSession.objects.filter(session_key=request.session.session_key).delete()
    forget(request)
    return redirect("portal:login")


@require_GET
@signed_in
def account(request):
    page = {
        "sessions": sessions.sessions_of(request.user),
        "factor": has_second_factor(request.user),
        "password": request.user.has_usable_password(),
    }
    return render(request, "portal/account.html", page)


@require_POST
@signed_in
def end_session(request, pk):
    sessions.end_session(session=find(sessions.own_sessions, pk, by=request.user), by=request.user)
    messages.success(request, "That session is over.")
    return redirect("portal:account")


@require_POST
@signed_in
def end_others(request):
    """Everything of mine but this session; tokens too."""
    sessions.end_all(user=request.user, by=request.user, keep=request.session.session_key)
    messages.success(request, "Your other sessions and your tokens are worth nothing any more.")
    return redirect("portal:account")


@require_http_methods(["GET", "POST"])
@signed_in
def change_password(request):
    form = PasswordForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            change_own_password(request=request, by=request.user, **form.cleaned_data)
        except MarrowError as error:
            put_beside(form, error)
        else:
            update_session_auth_hash(request, request.user)
            messages.success(request, "The password is changed. Your other sessions are over.")
            return redirect("portal:account")
    return render(request, "portal/password.html", {"form": form}, status=400 if form.errors else 200)
