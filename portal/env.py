"""Every setting of Stint, one class for the portal and one for the gate, checked at the start.

`make docs` makes docs/settings.md from this file. A variable NAME can also be given as NAME_FILE, a path whose content
is the value (for secrets).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from grants.adapters import trust
from grants.adapters.idp.kinds import KINDS, ProviderSettings, realm_of
from portal.env_values import CaFile, IdpKind, Networks, Origin, Postgres, Redis, SecretRef, Smtp, Url, WebUrl

PREFIX = "STINT_"

_CA_FILE = "PEM file of certificate authorities to trust besides the system's, such as a private one. "


class BadSettings(SystemExit):
    """Settings are wrong. Uncaught, this ends the process with one line for each variable and no traceback."""


class Env(BaseSettings):
    """The settings of the portal; portal/settings.py reads them once."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    secret_key: SecretStr = Field(min_length=32, description="Signs sessions and forms. 50 random characters.")
    public_url: Origin = Field(description="Where people reach the portal: https, except on this machine.")
    database_url: Postgres = Field(description="PostgreSQL, as the role `stint_app`.")
    database_owner_url: Postgres | None = Field(
        None, description="PostgreSQL, as the role `stint_owner`. Only `manage.py migrate` and `after_restore` use it."
    )
    broker_url: Redis = Field(
        description="Valkey or Redis for Celery; holds no state. `rediss:` checks certificates (`?ssl_ca_certs=FILE`)."
    )

    ca_file: CaFile | None = Field(
        None,
        description=_CA_FILE + "For the provider, Prefect, mail and the broker (`rediss:`), and for the database where "
        "its URL has `sslmode=verify-full`. Read at the start.",
    )

    idp_slug: str = Field("sso", pattern=r"^[a-z0-9-]+$", description="Short name of the identity provider.")
    idp_kind: IdpKind = Field("oidc", description="Its kind: `oidc` (sign-in only), `demo` or `keycloak`.")
    oidc_issuer: WebUrl = Field(
        description="Issuer URL, https except on this machine; its discovery document is read at the first sign-in."
    )
    oidc_client_id: str = Field("stint", description="Client id of the portal at the provider.")
    oidc_client_secret: SecretStr = Field(description="Client secret of the portal at the provider.")
    oidc_scopes: str = Field("openid profile email", description="Scopes to request; add the one that carries groups.")
    oidc_groups_claim: str = Field("groups", description="Claim that lists a person's groups. Keycloak: full paths.")
    oidc_absent_groups_mean_none: bool = Field(
        False, description="A missing groups claim means no groups (Keycloak never sends an empty list)."
    )
    oidc_team_prefix: str = Field(
        "",
        description="Only groups with this prefix are teams; team names are without it. For a Keycloak with "
        "`STINT_IDP_KIND=oidc`, begin the prefix with a slash (`/` or `/team-`), so that teams keep their names.",
    )
    oidc_admin_group: str = Field(
        "stint-admins",
        description="Members are portal admins. Compared exactly; at Keycloak, the path without its first slash.",
    )
    oidc_auditor_group: str = Field("stint-auditors", description="Members are portal auditors.")
    first_admin: str = Field(
        "", description="External id (`sub`) at the identity provider of the first admin. Never an e-mail."
    )
    idp_admin_url: Url | None = Field(
        None, description="URL for reading people and changing roles. Keycloak: made from the issuer if not given."
    )
    idp_admin_client_id: str = Field("stint-provisioner", description="Keycloak: the client of Stint's own account.")
    idp_admin_secret_ref: SecretRef = Field("", description="`env:NAME` or `file:PATH` of that account's secret.")
    idp_role_client: str = Field("stint", description="Keycloak: the client whose roles Stint makes.")

    mail_from: str = Field("Stint <stint@localhost>", description="Sender of mail.")
    mail_dir: Path | None = Field(None, description="Write mail into files here instead of sending it.")
    smtp_url: Smtp = Field("", description="`smtp://user:password@host:587` (STARTTLS) or `smtps://…`.")

    audit_key_file: Path = Field(description="Ed25519 private key (PEM) that signs the head of the record.")
    audit_heads_file: Path = Field(description="JSON lines; the signed head is added every minute.")

    token_dir: Path | None = Field(
        None, description="Celery workers: folder where they write the tokens of service identities into files."
    )

    time_zone: str = Field("UTC", description="Zone shown to people who have not chosen one.")
    request_lapses_days: int = Field(3, ge=1, le=30, description="A request nobody decides lapses after this.")
    sync_seconds: int = Field(60, ge=5, le=3600, description="How often catalogs and the directory are read.")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token for /metrics. Without it, only admins see them."
    )
    trusted_proxy: bool = Field(
        False,
        description="Trust X-Forwarded-Proto, and count sign-ins by the last address of X-Forwarded-For. The proxy in "
        "front has to set the first itself, replacing the client's, and to append to the second.",
    )
    hsts: Literal["off", "host", "subdomains", "preload"] = Field(
        "host",
        description="HSTS for two years: `host` for this host, `subdomains` for those below it too, `preload` for the "
        "browsers' lists as well.",
    )
    web_host: str = Field("127.0.0.1", description="Web: address to listen on.")
    web_port: int = Field(8000, ge=1, le=65535, description="Web: port for people, behind the proxy that ends TLS.")
    web_processes: int = Field(1, ge=1, le=64, description="Web: processes of granian.")
    web_threads: int = Field(
        8,
        ge=2,
        le=64,
        description="Web: threads of each process, each with a connection to the database. At most half of them wait "
        "for the identity provider at once; the others serve other pages.",
    )
    static_root: Path = Field(Path("staticfiles"), description="Where `collectstatic` puts files.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    log_format: Literal["json", "console"] = Field("json", description="json for machines, console for eyes.")

    @field_validator("oidc_scopes")
    @classmethod
    def _opens_an_id_token(cls, scopes: str) -> str:
        if "openid" not in scopes.split():
            raise ValueError("without the scope `openid` a provider sends no ID token")
        return scopes

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.mail_dir and self.smtp_url:
            raise ValueError("set STINT_MAIL_DIR or STINT_SMTP_URL, not both")
        lacking = [name for name in KINDS[self.idp_kind].needs if not getattr(self, f"idp_{name}")]
        if lacking:
            variables = " and ".join(f"{PREFIX}IDP_{name.upper()}" for name in lacking)
            raise ValueError(f"STINT_IDP_KIND={self.idp_kind} needs {variables}")
        if self.idp_kind == "keycloak" and realm_of(self.oidc_issuer) is None:
            raise ValueError("STINT_OIDC_ISSUER: a Keycloak's issuer is https://host/realms/NAME")
        return self

    @property
    def provider(self) -> ProviderSettings:
        """The identity provider that people sign in by."""
        return ProviderSettings(
            slug=self.idp_slug,
            kind=self.idp_kind,
            issuer=self.oidc_issuer,
            client_id=self.oidc_client_id,
            groups_claim=self.oidc_groups_claim,
            absent_groups_mean_none=self.oidc_absent_groups_mean_none or KINDS[self.idp_kind].can.absent_claim_is_empty,
            team_prefix=self.oidc_team_prefix,
            admin_group=self.oidc_admin_group,
            auditor_group=self.oidc_auditor_group,
            first_admin=self.first_admin,
            admin_url=self.idp_admin_url or "",
            admin_client_id=self.idp_admin_client_id,
            admin_secret_ref=self.idp_admin_secret_ref,
            role_client=self.idp_role_client,
        )

    @property
    def providers(self) -> Mapping[str, ProviderSettings]:
        """Every identity provider, by its slug."""
        return {self.idp_slug: self.provider}

    @property
    def https(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def host(self) -> str:
        """Host name of the portal, without the port."""
        return urlsplit(self.public_url).hostname or ""

    @property
    def port(self) -> int | None:
        return urlsplit(self.public_url).port


class GateEnv(BaseSettings):
    """The settings of the gate; portal/gate reads them once. Those that the portal has as well have the same names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    gate_database_url: Postgres = Field(
        description="PostgreSQL, as the role `stint_gate`. Not through a pooler by transaction: the gate LISTENs."
    )
    public_url: Origin = Field(description="Where people reach the portal.")
    ca_file: CaFile | None = Field(
        None,
        description=_CA_FILE + "For Prefect, and for the database where its URL has `sslmode=verify-full`.",
    )
    gate_host: str = Field("127.0.0.1", description="Address to listen on.")
    gate_port: int = Field(4200, ge=1, le=65535, description="Port for callers of the orchestrators.")
    gate_admin_port: int = Field(
        4290, ge=1, le=65535, description="Port for /healthz, /readyz and /metrics. Keep it closed to callers."
    )
    gate_scheme: Literal["https", "http"] = Field(
        "https", description="How callers reach the gate: https when a proxy in front ends TLS. http for loopback only."
    )
    gate_name: str = Field(
        default_factory=socket.gethostname,
        description="Name of this gate in counts and on the status page; by default the host's name.",
    )
    gate_stale_seconds: float = Field(
        2.0, ge=0.5, le=60, description="The gate answers 503 when it has been cut off from the database for longer."
    )
    gate_state_file: Path | None = Field(
        None,
        description="File where the gate keeps the newest head of the record that it has seen. Needed in production.",
    )
    gate_heads_file: Path | None = Field(
        None, description="File of the exported heads, for a gate that can read it and has no state file yet."
    )
    gate_sockets: int = Field(
        2000,
        ge=1,
        description="Most sockets open at once, as far as the limit of open files allows. One subject with `work` may "
        "have a quarter of them, any other a twentieth.",
    )
    gate_proxies: Networks = Field(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        description="Addresses or networks of the proxies in front, separated by commas. Their connections are not "
        "counted by address; tries to enter are counted by their `X-Forwarded-For`.",
    )
    gate_stop_seconds: float = Field(10.0, ge=0, le=300, description="How long calls may take to finish after SIGTERM.")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token for /metrics. Without it, /metrics is closed."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    log_format: Literal["json", "console"] = Field("json", description="json for machines, console for eyes.")


def read_env() -> Env:
    """Read the portal's settings. Raises BadSettings, which names every bad variable."""
    return _read(Env)


def read_gate_env() -> GateEnv:
    """Read the gate's settings. Raises BadSettings, which names every bad variable."""
    return _read(GateEnv)


def _read[S: BaseSettings](settings: type[S]) -> S:
    """Read the settings from this process's environment, with the values of NAME_FILE variables from their files."""
    given: dict[str, str] = {}
    wrong: list[str] = []
    for name, field in _files(settings):
        if name.removesuffix("_FILE") in os.environ:
            wrong.append(f"{name}: Stint reads this or {name.removesuffix('_FILE')}; both are set")
        else:
            try:
                given[field] = Path(os.environ[name]).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                wrong.append(f"{name}: the file cannot be read ({reason})")
    if (roots := os.environ.get("SSL_CERT_FILE")) and (why := trust.unusable(roots)):
        wrong.append(f"SSL_CERT_FILE: the file {why}")
    unread = {name.removesuffix("_FILE") for name, field in _files(settings) if field not in given}
    try:
        read = settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong += [line for line in _lines(error) if line.partition(":")[0] not in unread]
    if wrong:
        raise BadSettings("\n".join(["Stint's settings are wrong (docs/settings.md):", *sorted(wrong)]))
    return read


def _files(settings: type[BaseSettings]) -> Iterator[tuple[str, str]]:
    """Yield each NAME_FILE variable that is set, with the field whose value its file holds."""
    for name in os.environ:
        field = name.removesuffix("_FILE").removeprefix(PREFIX).lower()
        if name.startswith(PREFIX) and name.endswith("_FILE") and field in settings.model_fields:
            yield name, field


def _lines(error: ValidationError) -> Iterator[str]:
    """Yield what is wrong with each variable. Never its value, which may be a secret."""
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        text = "not set" if one["type"] == "missing" else one["msg"].removeprefix("Value error, ")
        yield f"{PREFIX}{str(one['loc'][0]).upper()}: {text}" if one["loc"] else text


def markdown() -> str:
    """The text of docs/settings.md: every variable, its default and its meaning."""
    return "\n".join(
        [
            "# Settings",
            "",
            "`make docs` makes this page from `portal/env.py`. Every variable can also be given as `…_FILE`, a path",
            "whose content is the value. A process with a bad value does not start, and names the variable.",
            "",
            *_rows(Env),
            "",
            "## The gate",
            "",
            "`python -m portal.gate` reads these, and none of the others.",
            "",
            *_rows(GateEnv),
            "",
        ]
    )


def _rows(settings: type[BaseSettings]) -> list[str]:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        given = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        default = "" if field.default_factory or given in (None, "") else f"`{given}`"
        default = "**required**" if field.is_required() else default
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return rows


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201 (what it is for)
