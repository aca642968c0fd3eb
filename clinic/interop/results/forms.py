from django import forms

from clinic.interop.terminology import choices


class TakeForm(forms.Form):
    """What a person says of a held result; what is left empty stays as it was sent."""

    loinc = forms.ChoiceField(label="What it is", required=False)
    number = forms.FloatField(label="Value", required=False)
    unit = forms.CharField(label="Unit", max_length=60, required=False)
    mrn = forms.CharField(label="Record number of the patient", max_length=64, required=False)
    remember = forms.BooleanField(label="Read this code so from now on", required=False)

    def __init__(self, *args, held, **kwargs):
        super().__init__(*args, **kwargs)
        sent = held.said
        self.fields["loinc"].choices = [("", f"As sent ({sent['loinc']})" if sent["loinc"] else "Choose"), *choices()]
        self.fields["number"].help_text = f"Sent as {sent['said_value'] or 'nothing'}."
        self.fields["unit"].help_text = f"Sent as {sent['unit'] or 'nothing'}."
        if held.patient:
            self.fields["mrn"].help_text = f"Sent for {held.patient.mrn}."
        if not held.local_code:
            del self.fields["remember"]


class DismissForm(forms.Form):
    reason = forms.CharField(label="Why it is put aside", max_length=500)
