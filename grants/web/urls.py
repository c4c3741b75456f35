"""Every page of the portal. All of them need a login unless tests/web/test_shell.py lists them."""

from django.urls import path

from grants.web import (
    views_access,
    views_ask,
    views_audit,
    views_catalog,
    views_history,
    views_home,
    views_requests,
    views_settings,
    views_watch,
)

urlpatterns = [
    path("", views_home.home, name="home"),
    path("catalog", views_catalog.catalog, name="catalog"),
    path("catalog/<int:pk>", views_catalog.resource, name="resource"),
    path("requests/new", views_ask.request_new, name="request-new"),
    path("requests/<int:pk>", views_requests.request_page, name="request"),
    path("requests/<int:pk>/approve", views_requests.approve, name="request-approve"),
    path("requests/<int:pk>/deny", views_requests.deny, name="request-deny"),
    path("requests/<int:pk>/withdraw", views_requests.withdraw, name="request-withdraw"),
    path("inbox", views_requests.inbox, name="inbox"),
    path("access", views_access.access, name="access"),
    path("grants/<int:pk>", views_access.grant, name="grant"),
    path("grants/<int:pk>/give-back", views_access.give_back, name="grant-give-back"),
    path("grants/<int:pk>/revoke", views_access.revoke, name="grant-revoke"),
    path("history", views_history.history, name="history"),
    path("history.csv", views_history.history_csv, name="history-csv"),
    path("audit", views_audit.audit, name="audit"),
    path("audit/verify", views_audit.verify, name="audit-verify"),
    path("connections", views_watch.connections, name="connections"),
    path("policy", views_watch.policy, name="policy"),
    path("status", views_watch.status, name="status"),
    path("metrics", views_watch.metrics, name="metrics"),
    path("settings", views_settings.settings_page, name="settings"),
]
