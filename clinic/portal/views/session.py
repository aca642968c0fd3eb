from django.contrib.auth import views as auth
from django.db import transaction

from clinic.accounts.services import record_failed_login
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.portal.forms import SignInForm


class Login(auth.LoginView):
    template_name = "portal/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    @transaction.atomic
    def form_valid(self, form):
        response = super().form_valid(form)
        record(Action.LOGIN, by=form.get_user(), obj=form.get_user(), detail={"by": "session"})
        return response

    def form_invalid(self, form):
        record_failed_login(username=form.data.get("username", ""))
        return super().form_invalid(form)


class Logout(auth.LogoutView):
    @transaction.atomic
    def post(self, request, *args, **kwargs):
        if request.user.is_authenticated:
            record(Action.LOGOUT, by=request.user, obj=request.user)
        return super().post(request, *args, **kwargs)
