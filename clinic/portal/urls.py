from django.urls import path

from clinic.portal.views import appearance, case, files, monitoring, oversight, registry, report, session, worklist

app_name = "portal"
urlpatterns = [
    path("", worklist.home, name="home"),
    path("login/", session.Login.as_view(), name="login"),
    path("logout/", session.Logout.as_view(), name="logout"),
    path("appearance/", appearance.theme, name="theme"),
    path("worklist/", worklist.worklist, name="worklist"),
    path("worklist/pulse/", worklist.worklist_pulse, name="worklist_pulse"),
    path("worklist/views/", worklist.save_view, name="save_view"),
    path("worklist/views/<int:pk>/delete/", worklist.delete_view, name="delete_view"),
    path("cases/new/", case.new_case, name="new_case"),
    path("cases/<uuid:pk>/", case.case_page, name="case"),
    path("cases/<uuid:pk>/pulse/", case.pulse, name="case_pulse"),
    path("cases/<uuid:pk>/items/", case.upload, name="upload"),
    path("cases/<uuid:pk>/analyse/", case.analyse, name="analyse"),
    path("cases/<uuid:pk>/report/", report.draft, name="draft"),
    path("analyses/<uuid:pk>/cancel/", case.cancel, name="cancel"),
    path("reports/<uuid:pk>/", report.report_page, name="report"),
    path("reports/<uuid:pk>/sign/", report.sign, name="sign"),
    path("reports/<uuid:pk>/amend/", report.amend, name="amend"),
    path("items/<uuid:pk>/file/", files.item_file, name="item_file"),
    path("items/<uuid:pk>/frames/<int:number>/", files.item_frame, name="item_frame"),
    path("artefacts/<uuid:pk>/", files.artefact, name="artefact"),
    path("audit/", oversight.audit, name="audit"),
    path("models/", registry.models, name="models"),
    path("models/import/", registry.import_models, name="import_models"),
    path("models/<uuid:pk>/", registry.model, name="model"),
    path("models/<uuid:pk>/move/", registry.move_model, name="move_model"),
    path("monitoring/", monitoring.monitoring, name="monitoring"),
    path("monitoring/sites/<uuid:pk>/", monitoring.calibration, name="calibration"),
    path("monitoring/sites/<uuid:pk>/recalibrate/", monitoring.recalibrate, name="recalibrate"),
    path("monitoring/sites/<uuid:pk>/undo/", monitoring.undo_calibration, name="undo_calibration"),
]
