"""allauth's forms for the second factor, counted and used up as ours are."""

from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as base
from django.core.exceptions import ValidationError

from clinic.accounts.login import check_code, record_failed_login
from clinic.audit.context import current
from clinic.errors import MarrowError


class CountedCode:
    def clean_code(self):
        try:
            found = check_code(request=current().request, user=self.user, code=self.cleaned_data["code"])
        except MarrowError as error:
            raise ValidationError(error.detail) from error
        if not found:
            record_failed_login(username=self.user.username, factor="code")
            raise get_adapter().validation_error("incorrect_code")
        found.user = self.user
        self.authenticator = found
        return self.cleaned_data["code"]


class AuthenticateForm(CountedCode, base.AuthenticateForm):
    pass


class ReauthenticateForm(CountedCode, base.ReauthenticateForm):
    pass
