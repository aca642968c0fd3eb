"""The pages of one case beside its overview."""

from django.urls import path

from clinic.portal.views import discussion, report, tabs, viewer

urlpatterns = [
    path("cases/<uuid:pk>/images/", tabs.images, name="case_images"),
    path("cases/<uuid:pk>/expression/", tabs.expression, name="case_expression"),
    path("cases/<uuid:pk>/labs/", tabs.labs, name="case_labs"),
    path("cases/<uuid:pk>/history/", tabs.history, name="case_history"),
    path("cases/<uuid:pk>/audit/", tabs.audit, name="case_audit"),
    path("cases/<uuid:pk>/comments/", discussion.comment, name="comment"),
    path("items/<uuid:pk>/frames/<int:number>/view/", viewer.viewer, name="viewer"),
    path("findings/<int:pk>/cells/", viewer.review_cell, name="review_cell"),
    path("reports/<uuid:pk>/second/", report.second, name="second"),
    path("reports/<uuid:pk>/pdf/", report.pdf, name="report_pdf"),
]
