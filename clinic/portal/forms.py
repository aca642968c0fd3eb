"""What a person types. The rules of the work are the services'; here stands only what a form must have to be read."""

from django import forms
from django.contrib.auth.validators import UnicodeUsernameValidator

from clinic.accounts.access import sites_where
from clinic.accounts.models import Role
from clinic.audit.models import Action, Outcome
from clinic.audit.words import words_of
from clinic.cases.models import Case, Decision, ItemKind, Stage
from clinic.cases.worklist import SORTS, VIEWS
from clinic.errors import MarrowError
from clinic.patients.models import Sex
from ml.diagnosis_tree import load_tree

UPLOAD_KINDS = {
    "": "The content tells",
    ItemKind.SMEAR_FIELD: "Smear fields (images)",
    ItemKind.SMEAR_CELL: "Smear cells (single-cell images)",
    ItemKind.EXPRESSION: "Expression (RNA-seq table)",
    ItemKind.LABS: "Labs (CSV or JSON)",
    ItemKind.HISTORY: "History (text)",
}


def put_beside(form, error):
    """What a service says against the input, at the field that it names, else at the form."""
    form.add_error(error.place if error.place in form.fields else None, error.detail)


def done(form, service, **said):
    """Whether the service did it; what it says against it is put beside the field."""
    try:
        service(**said)
    except MarrowError as error:
        put_beside(form, error)
        return False
    return True


class SignInForm(forms.Form):
    username = forms.CharField(
        max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True})
    )
    password = forms.CharField(
        max_length=1000, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class PasswordForm(forms.Form):
    old = forms.CharField(
        label="Present password",
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new = forms.CharField(
        label="New password",
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 12 characters, not one of the usual ones. A passphrase is good.",
    )


class WorklistForm(forms.Form):
    """The address of a list as it is read; what cannot be read falls back to the list of what is to do."""

    PERIODS = {"1": "Last 24 hours", "7": "Last 7 days", "30": "Last 30 days"}

    q = forms.CharField(required=False, max_length=100, label="Name, record or accession number")
    view = forms.ChoiceField(required=False, choices=[(name, text) for name, (text, _) in VIEWS.items()])
    sort = forms.ChoiceField(
        required=False,
        label="Order",
        choices=[("", "Usual"), *((name, text) for name, (text, _) in SORTS.items())],
    )
    site = forms.ModelChoiceField(queryset=None, required=False, empty_label="All my sites")
    days = forms.ChoiceField(required=False, label="Opened", choices=[("", "At any time"), *PERIODS.items()])
    synthetic = forms.ChoiceField(
        required=False, label="Patients", choices=[("", "All"), ("no", "Persons"), ("only", "Synthetic")]
    )
    after = forms.CharField(required=False, max_length=120)

    SAVED = ("view", "sort", "site", "days", "synthetic")

    def __init__(self, *args, sites, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites

    def asked(self):
        self.is_valid()
        said = {name: self.cleaned_data.get(name) or "" for name in self.fields}
        return said | {"view": said["view"] or "todo", "days": int(said["days"] or 0)}


class RoleForm(forms.Form):
    site = forms.ModelChoiceField(queryset=None, empty_label=None)
    role = forms.ChoiceField(choices=[("", "None: take the role away"), *Role.choices], required=False)

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites_where(user, "user.manage").order_by("name")


class NewPersonForm(RoleForm):
    username = forms.CharField(max_length=150, validators=[UnicodeUsernameValidator()])
    first_name = forms.CharField(max_length=150, required=False)
    last_name = forms.CharField(max_length=150, required=False)
    password = forms.CharField(
        label="First password",
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 12 characters. Tell the person; they change it under “Your account”.",
    )
    role = forms.ChoiceField(choices=Role.choices)


class PatientForm(forms.Form):
    site = forms.ModelChoiceField(queryset=None, empty_label=None)
    mrn = forms.CharField(label="Medical record number", max_length=64)
    name = forms.CharField(label="Full name", max_length=200)
    birth_date = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))
    sex = forms.ChoiceField(choices=Sex.choices, initial=Sex.UNKNOWN)
    synthetic = forms.BooleanField(required=False, label="Synthetic: made by a program, no person")

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites_where(user, "case.create").order_by("name")


class CaseForm(forms.Form):
    accession = forms.CharField(
        label="Accession number", max_length=64, required=False, help_text="The laboratory's own number of the order."
    )
    title = forms.CharField(label="What is asked", max_length=200, required=False)
    stage = forms.ChoiceField(label="Occasion", choices=Stage.choices, initial=Stage.DIAGNOSIS, required=False)
    follows = forms.ModelChoiceField(
        label="Earlier case of this patient",
        queryset=Case.objects.none(),
        required=False,
        empty_label="None known here",
        help_text="Only for a follow-up or a suspected relapse.",
    )
    history = forms.CharField(
        label="Clinical history",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="For the reader of the report. No model reads it.",
    )

    def clean_stage(self):
        return self.cleaned_data["stage"] or Stage.DIAGNOSIS

    def __init__(self, data=None, *, earlier=None):
        super().__init__(data)
        self.fields["follows"].queryset = earlier if earlier is not None else Case.objects.none()
        self.fields["follows"].label_from_instance = earlier_case
        if earlier is None or not earlier.exists():
            del self.fields["follows"]


def earlier_case(case):
    return f"{case.created_at:%-d %b %Y}: {case.title or case.get_stage_display()}"


class FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files, each as it came; an empty file passes, so that the reader can say what is wrong with it."""

    widget = FilesInput(attrs={"class": "drop"})

    def clean(self, data, initial=None):
        one = super().clean
        return [one(file, initial) for file in data or []] or one(None, initial)


class UploadForm(forms.Form):
    kind = forms.ChoiceField(choices=UPLOAD_KINDS, required=False)
    file = FilesField(label="Files: choose, or drop files and folders here", allow_empty_file=True, max_length=1000)
    sample = forms.CharField(
        label="Sample name",
        required=False,
        max_length=200,
        help_text="Only for a table that holds several samples: which one is this patient's.",
    )

    def options(self):
        sample = self.cleaned_data["sample"].strip()
        return {"sample": sample} if sample else {}


def diagnosis_choices():
    """The tree's nodes below the root, groups in bold type by indentation, each under its parent."""
    tree = load_tree()

    def under(node):
        indent = "\N{EM SPACE}" * (tree.depth(node) - 1)
        yield (node, indent + tree.nodes[node].name)
        for child in tree.children(node):
            yield from under(child)

    return [("", "None stated"), *(entry for child in tree.children(tree.root) for entry in under(child))]


def code_field():
    return forms.CharField(
        label="Code of your authenticator",
        max_length=20,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
        help_text="If your account has a second factor.",
    )


class SignForm(forms.Form):
    decision = forms.ChoiceField(choices=Decision.choices, widget=forms.RadioSelect)
    diagnosis = forms.ChoiceField(choices=diagnosis_choices, required=False, label="Diagnosis you state")
    reason = forms.CharField(required=False, max_length=4000, widget=forms.Textarea(attrs={"rows": 3}))
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        label="Your password",
        help_text="Signing asks for it again, so that nobody else signs in your name.",
    )
    code = code_field()


class SecondForm(forms.Form):
    agrees = forms.ChoiceField(choices=[("yes", "Agree"), ("no", "Do not agree")])
    reason = forms.CharField(required=False, max_length=4000, widget=forms.Textarea(attrs={"rows": 3}))
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}), label="Your password"
    )
    code = code_field()


class AmendForm(forms.Form):
    reason = forms.CharField(
        max_length=4000, widget=forms.Textarea(attrs={"rows": 3}), label="Reason for the amendment"
    )


class AuditFilter(forms.Form):
    actor = forms.CharField(required=False, max_length=200, label="Who", help_text="User name, or a part of it")
    patient = forms.CharField(
        required=False, max_length=64, label="Whom", help_text="Record number of the patient; finds lists, too"
    )
    case = forms.UUIDField(required=False, label="Case id")
    object = forms.UUIDField(required=False, label="Object id", help_text="Of an item, an analysis, a report …")
    action = forms.ChoiceField(
        required=False,
        label="What",
        choices=[("", "Every act"), *((a.value, f"{a.value}: {words_of(a)}") for a in Action)],
    )
    outcome = forms.ChoiceField(required=False, label="How it ended", choices=[("", "Any"), *Outcome.choices])
    since = forms.DateTimeField(
        required=False, label="From", widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    until = forms.DateTimeField(
        required=False, label="To", widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
