"""The demo's flows: small ones that really run."""

from __future__ import annotations

import time

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact


@task
def extract(source: str) -> list[int]:
    get_run_logger().info("reading orders from %s", source)
    time.sleep(1)
    return list(range(10))


@task
def load(rows: list[int]) -> int:
    time.sleep(1)
    return len(rows)


@flow
def orders(source: str = "adyen", broken: bool = False) -> int:
    """Load orders into the warehouse; `broken` makes the run fail."""
    rows = extract(source)
    if broken:
        raise ValueError(f"{source} sent a schema that nobody knows")
    return load(rows)


@flow
def report(day: str = "today") -> str:
    """Make a report for finance."""
    get_run_logger().info("report for %s", day)
    time.sleep(1)
    return f"report of {day}"


@task
def score(epochs: int) -> float:
    return 1 - 1 / (epochs + 1)


@flow
def evaluate(epochs: int) -> float:
    """Evaluate the model in a sub-flow that leaves an artifact."""
    good = score(epochs)
    get_run_logger().info("scored %s", good)
    create_markdown_artifact(key="model-score", markdown=f"**{good:.2f}** after {epochs} epochs")
    return good


@flow
def train(epochs: int = 2) -> float:
    """Train a model, in name only."""
    for epoch in range(epochs):
        get_run_logger().info("epoch %s", epoch)
        time.sleep(1)
    return evaluate(epochs)
