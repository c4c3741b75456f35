"""Every page of the portal. All of them need a login unless tests/web/test_shell.py lists them."""

from django.urls import path

from grants.web.access import enter, tokens
from grants.web.access import views as access
from grants.web.audit import views as audit
from grants.web.catalog import views as catalog
from grants.web.history import views as history
from grants.web.home import views as home
from grants.web.policy import views as policy
from grants.web.requests import new
from grants.web.requests import views as requests
from grants.web.service_identities import views as service_identities
from grants.web.settings import views as settings
from grants.web.status import metrics
from grants.web.status import views as status

urlpatterns = [
    path("", home.home, name="home"),
    path("catalog", catalog.catalog, name="catalog"),
    path("catalog/<int:pk>", catalog.resource, name="resource"),
    path("requests/new", new.request_new, name="request-new"),
    path("requests/<int:pk>", requests.request_page, name="request"),
    path("requests/<int:pk>/approve", requests.approve, name="request-approve"),
    path("requests/<int:pk>/deny", requests.deny, name="request-deny"),
    path("requests/<int:pk>/withdraw", requests.withdraw, name="request-withdraw"),
    path("inbox", requests.inbox, name="inbox"),
    path("access", access.my_access, name="access"),
    path("grants/<int:pk>", access.grant, name="grant"),
    path("grants/<int:pk>/give-back", access.give_back, name="grant-give-back"),
    path("grants/<int:pk>/revoke", access.revoke, name="grant-revoke"),
    path("grants/<int:pk>/tokens", tokens.new, name="token-new"),
    path("tokens/<int:pk>/replace", tokens.replace, name="token-replace"),
    path("tokens/<int:pk>/revoke", tokens.revoke, name="token-revoke"),
    path("gate/enter", enter.enter, name="gate-enter"),
    path("services", service_identities.services, name="services"),
    path("services/<int:pk>", service_identities.service, name="service"),
    path("services/<int:pk>/rename", service_identities.rename, name="service-rename"),
    path("services/<int:pk>/switch", service_identities.switch, name="service-switch"),
    path("services/<int:pk>/delivery", service_identities.delivery, name="service-delivery"),
    path("history", history.history, name="history"),
    path("history.csv", history.as_file, {"ending": "csv"}, name="history-file"),
    path("history.jsonl", history.as_file, {"ending": "jsonl"}, name="history-file"),
    path("audit", audit.audit, name="audit"),
    path("audit.csv", audit.as_file, {"ending": "csv"}, name="audit-file"),
    path("audit.jsonl", audit.as_file, {"ending": "jsonl"}, name="audit-file"),
    path("audit/verify", audit.verify, name="audit-verify"),
    path("connections", status.connections, name="connections"),
    path("policy", policy.policy, name="policy"),
    path("status", status.status, name="status"),
    path("metrics", metrics.metrics, name="metrics"),
    path("settings", settings.settings_page, name="settings"),
]
