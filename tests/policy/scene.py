"""The people, resources and rules that the rules are tested with."""

from __future__ import annotations

from grants.policy.language import Policy, parse_policy, with_people
from grants.policy.rulings import Facts, Person

ADA = Person(1, "sso", "id-ada", frozenset({"ingest"}))
BEN = Person(2, "sso", "id-ben", frozenset({"ingest", "oncall"}))
CHIARA = Person(3, "sso", "id-chiara", frozenset({"platform"}))
TOMASZ = Person(4, "sso", "id-tomasz", frozenset({"platform"}))
GRACE = Person(5, "sso", "id-grace", frozenset({"sre"}))
OSCAR = Person(6, "sso", "id-oscar", frozenset())
WORKER = Person(7, "", "S-7", frozenset({"ingest"}), service=True)
EVERYBODY = (ADA, BEN, CHIARA, TOMASZ, GRACE, OSCAR)
NAMES = {"sso:grace": "id-grace", "sso:chiara": "id-chiara"}

ETL = Facts(10, "prefect-prod", "production", "deployment", "etl/prod", frozenset({"pii", "owner:sre"}), "")
POOL = Facts(11, "prefect-prod", "production", "pool", "etl", frozenset(), "platform")
ML = Facts(12, "prefect-staging", "staging", "deployment", "ml/train", frozenset(), "ml")
BLOCK = Facts(13, "prefect-prod", "production", "block", "secret/db", frozenset(), "platform")
SERVER = Facts(14, "prefect-prod", "production", "server", "prefect-prod", frozenset(), "platform")


def rule(name: str = "r", match: str = "{}", ask: str = "anyone", levels: str = "[view, run, operate, manage]",
         default: str = "30m", longest: str = "8h", stages: str = "[{need: 1, from: [owners]}]", more: str = "") -> str:  # fmt: skip
    return (
        f"  - {{name: {name}, match: {match}, ask: {ask}, levels: {levels},"
        f" duration: {{default: {default}, longest: {longest}}}, stages: {stages}{more}}}\n"
    )


def policy(*rules_: str, head: str = "") -> Policy:
    return with_people(
        parse_policy(f"version: 1\n{head}rules:\n{''.join(rules_)}" if rules_ else f"version: 1\n{head}rules: []\n"),
        NAMES,
    )
