from django.apps import AppConfig


class ProviderConfig(AppConfig):
    name = "portal.demo.provider"
    label = "provider"
