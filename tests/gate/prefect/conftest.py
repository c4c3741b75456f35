"""A Prefect server that answers as a test wants."""

from tests.gate.prefect.answering import prefect

__all__ = ["prefect"]
