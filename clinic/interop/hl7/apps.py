from django.apps import AppConfig


class Hl7Config(AppConfig):
    name = "clinic.interop.hl7"
    label = "hl7"
