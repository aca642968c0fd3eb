"""allauth's pages that we use. Signing up, e-mail addresses and forgotten passwords are not among them: an
administrator makes the accounts. Each runs in a transaction with its event (accounts/factors).
"""

from allauth.account import views as account
from allauth.mfa.base import views as factors
from allauth.mfa.recovery_codes import views as recovery
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as keys
from allauth.socialaccount import views as social
from django.urls import include, path
from django.views.decorators.http import require_http_methods

from clinic.accounts.factors import recording_factors
from clinic.portal.views import session


def page(route, view, name, methods=("GET", "POST")):
    return path(route, require_http_methods(methods)(recording_factors(view)), name=name)


urlpatterns = [
    path("login/", session.login, name="account_login"),
    path("logout/", session.logout, name="account_logout"),
    page("account/confirm/", account.reauthenticate, "account_reauthenticate"),
    page("account/password/", session.change_password, "account_change_password"),
    page("account/2fa/", factors.index, "mfa_index", ["GET"]),
    page("account/2fa/authenticate/", factors.authenticate, "mfa_authenticate"),
    page("account/2fa/confirm/", factors.reauthenticate, "mfa_reauthenticate"),
    page("account/2fa/totp/activate/", totp.activate_totp, "mfa_activate_totp"),
    page("account/2fa/totp/deactivate/", totp.deactivate_totp, "mfa_deactivate_totp"),
    page("account/2fa/codes/", recovery.view_recovery_codes, "mfa_view_recovery_codes", ["GET"]),
    page("account/2fa/codes/generate/", recovery.generate_recovery_codes, "mfa_generate_recovery_codes"),
    page("account/2fa/codes/download/", recovery.download_recovery_codes, "mfa_download_recovery_codes", ["GET"]),
    page("account/2fa/keys/", keys.list_webauthn, "mfa_list_webauthn", ["GET"]),
    page("account/2fa/keys/add/", keys.add_webauthn, "mfa_add_webauthn"),
    page("account/2fa/keys/confirm/", keys.reauthenticate_webauthn, "mfa_reauthenticate_webauthn"),
    page("account/2fa/keys/<int:pk>/remove/", keys.remove_webauthn, "mfa_remove_webauthn"),
    page("account/2fa/keys/<int:pk>/edit/", keys.edit_webauthn, "mfa_edit_webauthn"),
    page("account/sso/cancelled/", social.login_cancelled, "socialaccount_login_cancelled", ["GET"]),
    page("account/sso/error/", social.login_error, "socialaccount_login_error", ["GET"]),
    path("account/", include("allauth.socialaccount.providers.openid_connect.urls")),
]
