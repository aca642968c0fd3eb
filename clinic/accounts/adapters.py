"""What allauth asks of us: who may come in by which way, and that each way in is written down."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.shortcuts import redirect

from clinic.accounts.lockout import remember_device
from clinic.accounts.login import check_password, record_failed_login
from clinic.accounts.models import User
from clinic.audit.context import address_of
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.errors import MarrowError
from clinic.keys import derived_keys


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request):
        return False

    def get_client_ip(self, request):
        return address_of(request) or "127.0.0.1"

    def login(self, request, user):
        with transaction.atomic():
            super().login(request, user)
            methods = [said.get("type") or said["method"] for said in get_authentication_records(request, user)]
            record(Action.LOGIN, by=user, obj=user, detail={"by": "session", "factors": methods})

    def post_login(self, request, user, **said):
        response = super().post_login(request, user, **said)
        remember_device(request, response, user.username)
        return response

    def reauthenticate(self, user, password):
        try:
            return check_password(request=self.request, username=user.username, password=password) == user
        except MarrowError as error:
            raise ValidationError(error.detail) from error

    def respond_user_inactive(self, request, user):
        messages.error(request, "This account cannot sign in. Ask your administrator.")
        return redirect("portal:login")

    def add_message(self, *args, **kwargs):
        """The pages say what happened; allauth's own remarks are left out."""

    def send_notification_mail(self, *args, **kwargs):
        """Changes of an account stand in the log, and on its page."""


class SocialAdapter(DefaultSocialAccountAdapter):
    """The hospital's directory says who somebody is; what they may do here is still a row of ours."""

    def is_open_for_signup(self, request, sociallogin):
        return False

    def pre_social_login(self, request, sociallogin):
        if sociallogin.is_existing:
            return
        said = sociallogin.account.extra_data
        claims = said.get("id_token") or said.get("userinfo") or said
        name = str(claims.get(settings.OIDC_USERNAME_CLAIM) or "")
        user = User.objects.filter(username=name, is_active=True).first() if name else None
        if user is None or SocialAccount.objects.filter(user=user, provider=sociallogin.account.provider).exists():
            record_failed_login(username=name, factor="single sign-on")
            messages.error(request, "Your directory account has no access here. Ask your administrator.")
            raise ImmediateHttpResponse(redirect("portal:login"))
        sociallogin.connect(request, user)

    def on_authentication_error(self, request, provider, error=None, exception=None, extra_context=None):
        record_failed_login(username="", factor="single sign-on")
        messages.error(request, "The single sign-on did not succeed. Try again, or sign in with your password.")
        raise ImmediateHttpResponse(redirect("portal:login"))


class MfaAdapter(DefaultMFAAdapter):
    def encrypt(self, text):
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text):
        return _fernet().decrypt(encrypted_text.encode()).decode()

    def build_totp_svg(self, url):
        """Without the XML declaration: it stands in a page."""
        svg = super().build_totp_svg(url)
        return svg[svg.index("<svg") :]

    def get_totp_issuer(self):
        return "Marrow"


def _fernet():
    return MultiFernet([Fernet(key) for key in derived_keys("marrow.mfa")])
