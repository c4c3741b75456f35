from pathlib import Path

from django.http import FileResponse, HttpRequest
from django.urls import include, path
from oauth2_provider.urls import base_urlpatterns, oidc_urlpatterns

from portal.demo.provider import views

CSS = Path(__file__).with_name("provider.css")


def css(_request: HttpRequest) -> FileResponse:
    return FileResponse(CSS.open("rb"), content_type="text/css")


urlpatterns = [
    path("signin", views.signin),
    path("provider.css", css),
    path("admin/users", views.users),
    path("admin/users/<str:sub>", views.users),
    path("admin/users/<str:sub>/roles/<path:role>", views.roles),
    # Without the pages of django-oauth-toolkit for managing applications.
    path("o/", include((base_urlpatterns + oidc_urlpatterns, "oauth2_provider"))),
]
