from django.urls import include, path

from portal import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("", include("accounts.urls")),
    path("", include("grants.web.urls")),
]

handler400 = "grants.web.errors.bad_request"
handler403 = "grants.web.errors.forbidden"
handler404 = "grants.web.errors.not_found"
handler500 = "grants.web.errors.server_error"
