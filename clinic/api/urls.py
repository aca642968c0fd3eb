from django.urls import path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import AllowAny

from clinic.api.views import accounts, analyses, cases, docs, items, monitoring, oversight, reports, tokens

app_name = "api"
urlpatterns = [
    path("auth/token", accounts.Token.as_view(), name="token"),
    path("me", accounts.Me.as_view(), name="me"),
    path("tokens", tokens.Tokens.as_view(), name="tokens"),
    path("tokens/<uuid:pk>", tokens.OneToken.as_view(), name="one_token"),
    path("sites", accounts.Sites.as_view(), name="sites"),
    path("patients", cases.Patients.as_view(), name="patients"),
    path("patients/<uuid:pk>", cases.OnePatient.as_view(), name="patient"),
    path("patients/<uuid:pk>/course", cases.Course.as_view(), name="course"),
    path("cases", cases.Cases.as_view(), name="cases"),
    path("cases/<uuid:pk>", cases.OneCase.as_view(), name="case"),
    path("cases/<uuid:pk>/items", items.Items.as_view(), name="items"),
    path("items/<uuid:pk>", items.OneItem.as_view(), name="item"),
    path("items/<uuid:pk>/content", items.ItemContent.as_view(), name="item_content"),
    path("cases/<uuid:pk>/analyses", analyses.Analyses.as_view(), name="analyses"),
    path("analyses/<uuid:pk>", analyses.OneAnalysis.as_view(), name="analysis"),
    path("analyses/<uuid:pk>/cancel", analyses.CancelAnalysis.as_view(), name="cancel"),
    path("analyses/<uuid:pk>/findings", analyses.Findings.as_view(), name="findings"),
    path("analyses/<uuid:pk>/assessment", analyses.AssessmentOfAnalysis.as_view(), name="assessment"),
    path("artefacts/<uuid:pk>", items.ArtefactContent.as_view(), name="artefact"),
    path("cases/<uuid:pk>/reports", reports.Reports.as_view(), name="reports"),
    path("reports/<uuid:pk>", reports.OneReport.as_view(), name="report"),
    path("reports/<uuid:pk>/sign", reports.SignReport.as_view(), name="sign"),
    path("reports/<uuid:pk>/amend", reports.AmendReport.as_view(), name="amend"),
    path("audit/events", oversight.Events.as_view(), name="events"),
    path("audit/export", oversight.ExportEvents.as_view(), name="events_export"),
    path("audit/patients/<uuid:pk>/people", oversight.PeopleWhoSaw.as_view(), name="people_who_saw"),
    path("audit/state", oversight.ChainState.as_view(), name="chain_state"),
    path("bundles", oversight.Bundles.as_view(), name="bundles"),
    path("bundles/<uuid:pk>/move", monitoring.MoveBundle.as_view(), name="move_bundle"),
    path("bundles/<uuid:pk>/in-use", monitoring.BundleInUse.as_view(), name="bundle_in_use"),
    path("monitoring/weeks", monitoring.Weeks.as_view(), name="weeks"),
    path("sites/<uuid:pk>/calibrations", monitoring.Calibrations.as_view(), name="calibrations"),
    path("sites/<uuid:pk>/calibrations/undo", monitoring.UndoCalibration.as_view(), name="undo_calibration"),
    path("diagnosis-tree", oversight.DiagnosisTree.as_view(), name="tree"),
    path("schema", SpectacularAPIView.as_view(permission_classes=[AllowAny], authentication_classes=[]), name="schema"),
    path("docs", docs.Docs.as_view(url_name="api:schema"), name="docs"),
]
