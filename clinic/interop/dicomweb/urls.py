from django.urls import path

from clinic.interop.dicomweb.retrieving import Metadata, OneStudy, Rendered, StoredFrames
from clinic.interop.dicomweb.views import OneStudyOrMore, Search, Studies

app_name = "dicomweb"
STUDY = "studies/<str:study>"
SERIES = f"{STUDY}/series/<str:series>"
INSTANCE = f"{SERIES}/instances/<str:instance>"
urlpatterns = [
    path("studies", Studies.as_view(), name="studies"),
    path("series", Search.as_view(level="series"), name="all_series"),
    path("instances", Search.as_view(level="instances"), name="all_instances"),
    path(STUDY, OneStudyOrMore.as_view(), name="study"),
    path(f"{STUDY}/metadata", Metadata.as_view(), name="study_metadata"),
    path(f"{STUDY}/series", Search.as_view(level="series"), name="series_of_study"),
    path(f"{STUDY}/instances", Search.as_view(level="instances"), name="instances_of_study"),
    path(SERIES, OneStudy.as_view(), name="series"),
    path(f"{SERIES}/metadata", Metadata.as_view(), name="series_metadata"),
    path(f"{SERIES}/instances", Search.as_view(level="instances"), name="instances_of_series"),
    path(INSTANCE, OneStudy.as_view(), name="instance"),
    path(f"{INSTANCE}/metadata", Metadata.as_view(), name="instance_metadata"),
    path(f"{INSTANCE}/rendered", Rendered.as_view(), name="instance_rendered"),
    path(f"{INSTANCE}/frames/<str:frames>", StoredFrames.as_view(), name="frames"),
    path(f"{INSTANCE}/frames/<str:frames>/rendered", Rendered.as_view(), name="frame_rendered"),
]
