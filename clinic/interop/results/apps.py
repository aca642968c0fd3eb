from django.apps import AppConfig


class ResultsConfig(AppConfig):
    name = "clinic.interop.results"
    label = "results"
