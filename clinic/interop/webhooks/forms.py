from django import forms

from clinic.accounts.access import sites_where
from clinic.interop.webhooks.models import EventType
from clinic.interop.webhooks.services import ACT


class WebhookForm(forms.Form):
    site = forms.ModelChoiceField(label="Site", queryset=None, to_field_name="code", empty_label="Choose")
    url = forms.CharField(label="Address", max_length=500, widget=forms.URLInput)
    events = forms.MultipleChoiceField(
        label="Events", widget=forms.CheckboxSelectMultiple, choices=[(value, value) for value in EventType.values]
    )

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        sites = sites_where(user, ACT).order_by("name")
        self.fields["site"].queryset = sites
        if len(sites) == 1:
            self.fields["site"].initial = sites[0].code
