"""One's own tokens, in the portal: what there is and when it was last used, a new one (told once), an end to one."""

from django.contrib import messages
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.http import require_POST

from clinic.cases.visibility import find
from clinic.errors import MarrowError
from clinic.portal.guard import signed_in
from clinic.tokens.forms import TokenForm
from clinic.tokens.services import create_personal_token, revoke, tokens_visible_to

SHOWN = 100


@method_decorator(signed_in, name="dispatch")
class Tokens(View):
    def get(self, request):
        return _page(request, TokenForm(user=request.user))

    def post(self, request):
        form = TokenForm(request.POST, user=request.user)
        if not form.is_valid():
            return _page(request, form, status=400)
        try:
            _, secret = create_personal_token(by=request.user, **form.cleaned_data)
        except MarrowError as error:
            form.add_error(None, error.detail)
            return _page(request, form, status=error.status)
        return _page(request, TokenForm(user=request.user), secret=secret)


@require_POST
@signed_in
def revoke_token(request, pk):
    token = find(tokens_visible_to, pk, by=request.user)
    revoke(token=token, by=request.user)
    messages.success(request, f"The token {token.prefix}… is worth nothing from now on.")
    return redirect("tokens:tokens")


def _page(request, form, *, secret="", status=200):
    shown = {"tokens": tokens_visible_to(request.user)[:SHOWN], "form": form, "secret": secret}
    return render(request, "tokens/tokens.html", shown, status=status)
