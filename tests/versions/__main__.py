"""`python -m tests.versions [--ci | LEG …]`: what touches a part, tested on other versions of it than the lock has.

Each leg is one version of one part. README says which versions are tested, and a test compares it with this list.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.versions import parts

# What leans on the interpreter and on libraries, and drives nothing but PostgreSQL.
OF_PYTHON = (
    "-m", "not real and not e2e", "tests/accounts/test_sso.py", "tests/accounts/test_sign_in.py", "tests/accounts/test_directory.py",
    "tests/audit/test_record.py", "tests/catalog", "tests/database", "tests/lifecycle", "tests/policy", "tests/tokens",
    "tests/gate/decision", "tests/gate/feed/test_feed.py",
    *(f"tests/gate/doors/test_{name}.py" for name in ("enter", "gateway", "sockets", "streams")),
    "tests/web/requests/test_requests.py", "tests/web/access/test_tokens.py",
)  # fmt: skip
OF_PREFECT = (
    "tests/gate/prefect/test_routes.py", "tests/gate/prefect/test_prefect_real.py", "tests/gate/prefect/test_secrets_real.py",
    "tests/adapters/test_prefect.py", "tests/catalog/test_sync_real.py",
)  # fmt: skip
OF_POSTGRES = (
    "tests/database", "tests/audit", "tests/lifecycle", "tests/provisioning", "tests/gate/feed/test_feed.py",
    "tests/portal/test_embedded.py",
)  # fmt: skip
OF_REDIS = ("tests/portal/test_broker.py", "tests/chaos/test_shutdown.py")
OF_KEYCLOAK = ("tests/adapters/test_keycloak_real.py", "tests/adapters/test_idp_contract.py")


class Leg(NamedTuple):
    part: str
    version: str
    prepare: Callable[[str], dict[str, str]]
    tests: tuple[str, ...]
    ci: bool = False  # run by .ci/run; the others are for `make test-versions`

    @property
    def name(self) -> str:
        return f"{self.part}-{self.version}"


LEGS = (
    Leg("prefect", "3.6.14", parts.prefect, OF_PREFECT, ci=True),
    Leg("prefect", "3.7.8", parts.prefect, OF_PREFECT),
    Leg("prefect", "3.8.8", parts.prefect, OF_PREFECT),
    Leg("postgres", "15.15.0", parts.postgres, OF_POSTGRES, ci=True),
    Leg("postgres", "16.11.0", parts.postgres, OF_POSTGRES),
    Leg("postgres", "17.7.0", parts.postgres, OF_POSTGRES),
    Leg("redis", "7", parts.redis, OF_REDIS, ci=True),
    Leg("redis", "8", parts.redis, OF_REDIS),
    Leg("keycloak", "26.4.7", parts.keycloak, OF_KEYCLOAK, ci=True),
    Leg("python", "3.12", parts.python, OF_PYTHON, ci=True),
)


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.versions")
    asked.add_argument("legs", nargs="*", metavar="LEG", choices=[[], *(leg.name for leg in LEGS)], help="default: all")
    asked.add_argument("--ci", action="store_true", help="those that .ci/run runs")
    given = asked.parse_args()
    wanted = [leg for leg in LEGS if (leg.name in given.legs if given.legs else leg.ci or not given.ci)]
    said = [_run(leg) for leg in wanted]
    print("\nversions:", *said, sep="\n  ")
    return 0 if all("passed" in line for line in said) else 1


def _run(leg: Leg) -> str:
    print(f"\n=== {leg.name}", flush=True)
    began = time.monotonic()
    try:
        settings = leg.prepare(leg.version)
    except parts.Absent as why:
        print(why)
        return f"{leg.name}: absent"
    env = {name: value for name, value in os.environ.items() if not name.startswith("STINT_")} | settings
    interpreter = settings.get("PYTHON", sys.executable)
    command = [interpreter, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", *leg.tests]
    code = subprocess.run(command, cwd=parts.ROOT, env=env, check=False).returncode
    return f"{leg.name}: {'passed' if code == 0 else f'failed ({code})'} in {time.monotonic() - began:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
