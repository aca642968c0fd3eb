from django import forms

from clinic.accounts.access import sites_where
from clinic.accounts.models import Site
from clinic.tokens.services import MAX_DAYS, SCOPES


class TokenForm(forms.Form):
    name = forms.CharField(label="What it is for", max_length=80)
    scopes = forms.MultipleChoiceField(label="What it may do", widget=forms.CheckboxSelectMultiple)
    site = forms.ModelChoiceField(
        label="Where", queryset=None, required=False, empty_label="Wherever I work", to_field_name="code"
    )
    days = forms.IntegerField(label="For how many days", min_value=1, max_value=MAX_DAYS, initial=90)

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = Site.objects.filter(memberships__user=user).order_by("name")
        mine = [act for act in SCOPES if sites_where(user, act).exists()]
        self.fields["scopes"].choices = [(act, act) for act in mine]
