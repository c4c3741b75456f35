"""What becomes of a worker's messages when its connection to Valkey is lost."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kombu import Connection, Message, Producer, Queue

from portal.broker import tls
from portal.celery import app
from portal.demo.process import Parts, listens
from portal.embedded import valkey_command
from tests.real.prefect import free_port


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    (tmp_path / "logs").mkdir()
    yield (parts := Parts(tmp_path))
    parts.stop()


@pytest.fixture
def valkey(parts: Parts, tmp_path: Path) -> str:
    port = free_port()
    parts.start("valkey", valkey_command(port, tmp_path), {})
    parts.wait("valkey", listens(port))
    return f"redis://127.0.0.1:{port}/0"


def taken(connection: Connection) -> Message:
    """A message asked for, not waited for: with a BRPOP under way, another error comes first."""
    queue = Queue("nudges")(connection.channel())
    queue.declare()
    Producer(queue.channel, routing_key=queue.name).publish({"job": "sync"})
    return queue.get()


def test_a_message_is_acknowledged_once(valkey: str) -> None:
    with app.connection(valkey) as connection:
        message = taken(connection)
        message.ack()
        assert not message.channel.client.hlen("unacked")


def test_a_lost_connection_is_an_error_that_the_worker_survives(
    valkey: str, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """The order of things in a worker: a thread ends its task when the consumer has given up the connection."""
    connection = app.connection(valkey)
    message, _other = taken(connection), taken(connection)
    errors = connection.connection_errors
    parts.running["valkey"].kill()
    parts.running["valkey"].wait()
    connection.collect()  # fails at the other's channel, and leaves this one
    with suppress(*errors):
        message.channel.close()
    message.ack_log_error(logging.getLogger("lost"), errors)
    assert "given up" in caplog.text
    assert not message.acknowledged


def test_a_secure_broker_shows_its_certificate() -> None:
    url = "rediss://broker.example:6379/0"
    assert app.connection(url, ssl=tls(url)).ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    asked = app.connection(f"{url}?ssl_ca_certs=/etc/ca.pem", ssl=tls(url)).ssl
    assert asked == {"ssl_ca_certs": "/etc/ca.pem"}  # redis-py requires a certificate where nothing else is said
    assert tls("redis://127.0.0.1/0") is None
