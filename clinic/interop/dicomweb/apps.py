from django.apps import AppConfig


class DicomwebConfig(AppConfig):
    name = "clinic.interop.dicomweb"
    label = "dicomweb"
