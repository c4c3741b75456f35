from django.urls import include, path

urlpatterns = [
    path("", include("accounts.urls")),
    path("", include("grants.web.urls")),
]

handler400 = "grants.web.errors.bad_request"
handler403 = "grants.web.errors.forbidden"
handler404 = "grants.web.errors.not_found"
handler500 = "grants.web.errors.server_error"
