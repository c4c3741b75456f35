"""`python -m portal.demo`: run all of Stint with real parts on this machine, until Ctrl-C.

STINT_DEMO_KEYCLOAK=1 uses a real Keycloak instead of the demo's own provider; each has a folder of its own.
`python -m portal.demo reset` deletes that folder. STINT_DEMO_DIR names another folder, STINT_DEMO_*_PORT other ports.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from portal.demo import idps
from portal.demo.process import Parts, answers, base_env, taken, within
from portal.embedded import ROLES, EmbeddedError, Postgres, reachable, valkey_command

HERE = Path(__file__).resolve().parent
PYTHON = sys.executable
# Clients reach Prefect by the gate's port; only the gate uses Prefect's own.
# All are below 32768, where the ports of outgoing connections begin: such a connection could hold the port.
PORTS = {"WEB": 8000, "GATE": 4200, "GATE_ADMIN": 4290, "PREFECT": 4201, "OIDC": 9400,
         "POSTGRES": 15432, "VALKEY": 16379}  # fmt: skip
SECRETS = ("secret_key", "client", "directory", "provider_key", "metrics", "prefect", *ROLES)
WORKER_NAME = "etl-worker"


class Demo:
    """One demo: its folder, ports, secrets and processes."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        provider = idps.chosen()
        self.folder = Path(os.environ.get("STINT_DEMO_DIR") or provider.folder).resolve()
        self.ports = {name: int(os.environ.get(f"STINT_DEMO_{name}_PORT", port)) for name, port in PORTS.items()}
        self.parts = Parts(self.folder)
        self.web = f"http://127.0.0.1:{self.ports['WEB']}"
        self.prefect = f"http://127.0.0.1:{self.ports['PREFECT']}"
        self.gate = f"127.0.0.1:{self.ports['GATE']}"
        self.idp = provider(self.folder, self.ports["OIDC"], self.web)

    def run(self) -> None:
        """Start everything, print what to do, and wait until a part ends or Ctrl-C is pressed."""
        self.prepare()
        try:
            self.start()
            self.tell()
            while True:
                self.parts.check()
                time.sleep(0.5)
        except Stopped:
            print("\nStopping …", flush=True)
        finally:
            for sig in (signal.SIGINT, signal.SIGTERM):
                signal.signal(sig, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the stopping
            self.parts.stop()
            make = self.idp.make
            self.say(f"stopped; `make demo{make}` goes on with the data, `make demo-reset{make}` empties it")

    def prepare(self) -> None:
        self.claim()
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        (self.folder / "mail").mkdir(exist_ok=True)
        if os.geteuid() == 0:
            self.folder.chmod(0o711)  # then PostgreSQL runs as nobody, and has to reach its data
        if cleared := self.parts.clear_leftovers():
            self.say(f"cleared what a killed start had left: {', '.join(cleared)}")
            # A process closes its files last, when it has no command line any more.
            within(10, lambda: not any(taken(port) for port in self.ports.values()))
        for name, port in self.ports.items():
            if taken(port):
                choose = f"STINT_DEMO_{name}_PORT=… make demo{self.idp.make}"
                raise EmbeddedError(f"Port {port} is taken. Free it, or choose another: {choose}")
        self.idp.fetch()
        self.secrets = self.read_secrets()

    def claim(self) -> None:
        """Bind the folder to this provider, whose people it holds. Raises EmbeddedError when it is the other one's."""
        mark = self.folder / "provider"
        known = mark.read_text(encoding="utf-8") if mark.exists() else idps.DemoProvider.slug
        if (self.folder / "secrets.json").exists() and known != self.idp.slug:
            raise EmbeddedError(
                f"{self.folder} has the data of a demo with another identity provider ({known}). "
                "Name another folder in STINT_DEMO_DIR, or empty this one with `make demo-reset`."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(self.idp.slug, encoding="utf-8")

    def read_secrets(self) -> dict[str, str]:
        """Read the secrets, made at the first start: later starts use the same data."""
        file = self.folder / "secrets.json"
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        whole = {name: known.get(name) or secrets.token_urlsafe(40) for name in SECRETS}
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(whole, out)
        return whole

    def start(self) -> None:
        """Start the slow parts first, then those that need them; all in one thread, because PDEATHSIG is per thread."""
        run = self.parts
        run.start("prefect", [PYTHON, "-m", "prefect", "server", "start", "--host", "127.0.0.1",
                              "--port", str(self.ports["PREFECT"])], self.server_env())  # fmt: skip
        self.idp.start(run, self.secrets)
        run.start("valkey", valkey_command(self.ports["VALKEY"], self.folder), base_env())
        postgres = Postgres(reachable(self.folder) / "postgres", self.ports["POSTGRES"])
        postgres.start(log=run.log("postgres"))
        assert postgres.process
        run.keep("postgres", postgres.process)
        postgres.roles({role: self.secrets[role] for role in ROLES})
        postgres.database("stint")
        self.say("PostgreSQL and Valkey")
        self.manage("migrate", "--verbosity", "0")
        self.manage("collectstatic", "--noinput", "--verbosity", "0")
        self.manage("audit_key")
        self.idp.wait(run, self.secrets)
        self.say(f"the tables, the identity provider ({self.idp.slug})")
        run.wait("prefect", answers(f"{self.prefect}/api/health"), 90)
        self.once([PYTHON, "-m", "portal.demo.prefect_seed"], self.seed_env(), "seed")
        self.say("Prefect, with its pools and deployments")
        self.apply()
        run.start("web", WEB, self.stint_env())
        run.start("worker", WORKER, self.stint_env())
        run.start("gate", [PYTHON, "-m", "portal.gate"], self.gate_env())
        run.wait("web", answers(f"{self.web}/readyz"))
        run.wait("gate", answers(f"http://127.0.0.1:{self.ports['GATE_ADMIN']}/readyz"))
        self.say("Stint, and its gate before Prefect")
        self.employ()
        self.say("Prefect's worker, let in by the gate")

    def apply(self) -> None:
        """Apply the demo's connection, and its policy at the first start: a later policy stays in force."""
        connections = (HERE / "connections.yaml").read_text(encoding="utf-8")
        connections = connections.replace("PREFECT_URL", f"{self.prefect}/api").replace("GATE_HOST", self.gate)
        (self.folder / "connections.yaml").write_text(connections, encoding="utf-8")
        self.manage("connections", "apply", str(self.folder / "connections.yaml"))
        self.manage("sync")
        mine = self.folder / "policy.yaml"
        if not mine.exists():
            policy = (HERE / "policy.yaml").read_text(encoding="utf-8")
            mine.write_text(policy.replace("idp: demo", f"idp: {self.idp.slug}"), encoding="utf-8")
            self.manage("policy", "apply", str(mine))

    def employ(self) -> None:
        """Make the worker a service identity, ask access for it, have its token delivered, and start it."""
        self.manage("service", "add", WORKER_NAME, "--team", "platform")
        why = "Runs the deployments of the etl pool, in the demo."
        asked = ("prefect-demo:pool:etl", "work", "--hours", "24", "--why", why)
        self.manage("service", "ask", WORKER_NAME, *asked, "--team", "platform")
        self.manage("service", "deliver", WORKER_NAME, "--team", "platform")
        tokens = self.folder / "tokens"  # no other identity has tokens delivered here
        self.parts.wait("worker", lambda: any(tokens.glob("S-*/*.work")))
        (file,) = tokens.glob("S-*/*.work")
        self.parts.start("prefect-worker", [PYTHON, "-m", "prefect", "worker", "start", "--pool", "etl",
                                            "--type", "process", "--name", WORKER_NAME],
                         self.worker_env(file.read_text(encoding="ascii").strip()))  # fmt: skip

    def manage(self, *arguments: str) -> None:
        self.once([PYTHON, str(HERE.parent.parent / "manage.py"), *arguments], self.stint_env(), "manage")

    def once(self, command: list[str], env: dict[str, str], name: str) -> None:
        """Run a command to its end. Raises EmbeddedError with its output."""
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        with self.parts.log(name).open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode:
            raise EmbeddedError(f"{' '.join(command[1:])} failed:\n{(done.stderr or done.stdout)[-2000:]}")

    def stint_env(self) -> dict[str, str]:
        postgres = f"@127.0.0.1:{self.ports['POSTGRES']}/stint"
        return base_env() | {
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "STINT_SECRET_KEY": self.secrets["secret_key"],
            "STINT_PUBLIC_URL": self.web,
            "STINT_WEB_PORT": str(self.ports["WEB"]),
            "STINT_DATABASE_URL": f"postgresql://stint_app:{self.secrets['stint_app']}{postgres}",
            "STINT_DATABASE_OWNER_URL": f"postgresql://stint_owner:{self.secrets['stint_owner']}{postgres}",
            "STINT_BROKER_URL": f"redis://127.0.0.1:{self.ports['VALKEY']}/0",
            "STINT_IDP_SLUG": self.idp.slug,
            "STINT_IDP_KIND": self.idp.slug,
            "STINT_OIDC_CLIENT_SECRET": self.secrets["client"],
            "STINT_OIDC_TEAM_PREFIX": "team-",
            "STINT_IDP_ADMIN_SECRET_REF": "env:STINT_DEMO_DIRECTORY_SECRET",
            "STINT_DEMO_DIRECTORY_SECRET": self.secrets["directory"],
            "STINT_DEMO_PREFECT_AUTH": self.prefect_auth,
            "STINT_TOKEN_DIR": str(self.folder / "tokens"),
            **self.idp.settings(),
            "STINT_MAIL_DIR": str(self.folder / "mail"),
            "STINT_AUDIT_KEY_FILE": str(self.folder / "audit.pem"),
            "STINT_AUDIT_HEADS_FILE": str(self.folder / "heads.jsonl"),
            "STINT_STATIC_ROOT": str(self.folder / "static"),
            "STINT_METRICS_TOKEN": self.secrets["metrics"],
            "STINT_SYNC_SECONDS": "15",
            "STINT_LOG_FORMAT": "console",
        }

    def gate_env(self) -> dict[str, str]:
        postgres = f"@127.0.0.1:{self.ports['POSTGRES']}/stint"
        return base_env() | {
            "STINT_GATE_DATABASE_URL": f"postgresql://stint_gate:{self.secrets['stint_gate']}{postgres}",
            "STINT_PUBLIC_URL": self.web,
            "STINT_GATE_PORT": str(self.ports["GATE"]),
            "STINT_GATE_ADMIN_PORT": str(self.ports["GATE_ADMIN"]),
            "STINT_GATE_SCHEME": "http",
            "STINT_GATE_STATE_FILE": str(self.folder / "gate.json"),
            "STINT_DEMO_PREFECT_AUTH": self.prefect_auth,
            "STINT_METRICS_TOKEN": self.secrets["metrics"],
            "STINT_LOG_FORMAT": "console",
        }

    @property
    def prefect_auth(self) -> str:
        """The auth string of Prefect. Only the gate and the catalog's sync know it."""
        return f"stint:{self.secrets['prefect']}"

    def server_env(self) -> dict[str, str]:
        return prefect_env(self.folder / "prefect") | {
            "PREFECT_API_URL": f"{self.prefect}/api",
            "PREFECT_SERVER_API_AUTH_STRING": self.prefect_auth,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{self.gate}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_UI_API_URL": "/api",
            "PREFECT_UI_STATIC_DIRECTORY": str(self.folder / "prefect-ui"),
        }

    def seed_env(self) -> dict[str, str]:
        """The environment of the script that sets Prefect up, without the gate."""
        url = {"PREFECT_API_URL": f"{self.prefect}/api", "PREFECT_API_AUTH_STRING": self.prefect_auth}
        return prefect_env(self.folder / "prefect-seed") | url

    def worker_env(self, token: str) -> dict[str, str]:
        return prefect_env(self.folder / "prefect-worker") | {
            "PREFECT_API_URL": f"http://{self.gate}/api",
            "PREFECT_CLIENT_CUSTOM_HEADERS": json.dumps({"Authorization": f"Bearer {token}"}),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }

    def say(self, what: str) -> None:
        print(f"  {time.monotonic() - self.began:5.1f} s  {what}", flush=True)

    def tell(self) -> None:
        told = self.idp.told()
        print(f"""
Stint      {self.web}
Prefect    http://{self.gate}  (through the gate; Prefect itself answers nobody else){told.addresses}
Mail       {self.folder / "mail"}
Settings   {self.folder}  (policy.yaml is yours to edit)

Sign in as ada (asks), chiara or tomasz (approve, team Platform), priya (admin), olga (auditor), oscar (outsider).
{told.passwords}
To try:
  1. As ada: Catalog, orders/nightly, ask to run it for 30 minutes. The form says who will be asked.
  2. As chiara, in another browser profile: approve it from the home page. Ada has a countdown now.
  3. On the page of Ada's access: issue a token, and paste its lines into a shell. Then
     {Path(PYTHON).with_name("prefect")} deployment run orders/nightly
     passes; orders/backfill is refused, with the link to ask for it.
  4. As ada, open http://{self.gate}: Prefect's own pages, with what she may see. Signed out of Stint, she is out there.
  5. As olga: History, then Audit, Verify. Every step is there, and the chain is whole.{told.to_try}

Ctrl-C stops all of it.""", flush=True)  # fmt: skip


def prefect_env(home: Path) -> dict[str, str]:
    return base_env() | {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}


# docker-compose.yml has the same commands.
WEB = [PYTHON, "-m", "portal.web"]
WORKER = [PYTHON, "-m", "celery", "-A", "portal.celery", "worker", "--pool", "threads", "--concurrency", "4",
          "--loglevel", "INFO", "--without-gossip", "--without-mingle"]  # fmt: skip


class Stopped(Exception):
    """Ctrl-C was pressed, or the process was told to end."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped


def main() -> int:
    demo = Demo()
    if sys.argv[1:] == ["reset"]:
        demo.parts.clear_leftovers()
        if demo.folder.exists():
            for folder in {reachable(demo.folder), demo.folder}:
                shutil.rmtree(folder, ignore_errors=True)
        print(f"{demo.folder} is gone.")
        return 0
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, _stop)
    try:
        demo.run()
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    except Stopped:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
