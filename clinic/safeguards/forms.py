from django import forms

from clinic.accounts.models import Site
from clinic.registry.models import BundleStatus, ModelBundle
from clinic.safeguards.emergency import REASON_MIN

REASON = forms.Textarea(attrs={"rows": 3})


def bundle_choices():
    names = ModelBundle.objects.filter(status=BundleStatus.ACTIVE).order_by("name").values_list("name", flat=True)
    return [("", "Every model"), *((name, name) for name in names)]


class HaltForm(forms.Form):
    bundle = forms.ChoiceField(label="What to halt", choices=bundle_choices, required=False)
    reason = forms.CharField(max_length=2000, widget=REASON, help_text="Everybody who is signed in reads it.")


class ReleaseForm(forms.Form):
    reason = forms.CharField(max_length=2000, label="Why it may work again")


class BreakGlassForm(forms.Form):
    site = forms.ModelChoiceField(queryset=Site.objects.order_by("name"), empty_label=None)
    mrn = forms.CharField(label="Medical record number", max_length=64)
    birth_date = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}))
    reason = forms.CharField(max_length=2000, min_length=REASON_MIN, widget=REASON, label="Why you must read it now")


class ReviewForm(forms.Form):
    justified = forms.ChoiceField(
        choices=[("yes", "It was an emergency"), ("no", "It was not justified")], label="Your judgement"
    )
    note = forms.CharField(max_length=2000, required=False)
