"""Wrong keys: an address that sends many of them is told to wait, and nobody else is."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from api_calls import error_of
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from pando_api.failed_logins import address_of
from pando_shared.api_keys import new_api_key
from pando_shared.clock import FakeClock
from pando_shared.errors import Unavailable
from pando_shared.settings import Settings
from pando_shared.store.stub import StubStore

PER_MINUTE = 3
WRONG = {"Authorization": "Bearer sk-pando-wrong"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"failed_logins_per_minute": PER_MINUTE})


def guesser(app: FastAPI, address: str = "192.0.2.1") -> TestClient:
    return TestClient(app, headers=WRONG, client=(address, 50_000))


def spend(client: TestClient) -> None:
    for _ in range(PER_MINUTE):
        error_of(client.get("/v1/models"), 401)


def test_one_wrong_key_too_many_waits(app: FastAPI, clock: FakeClock) -> None:
    client = guesser(app)
    spend(client)
    answer = client.get("/v1/models")
    error = error_of(answer, 429)
    assert (error["code"], error["type"]) == ("too_many_failed_logins", "requests")
    assert answer.headers["retry-after"] == "20"
    assert error["message"] == (
        "more than 3 wrong API keys a minute came from 192.0.2.1; wait 20 s with the next one, or "
        "send a good one, which works at once"
    )
    clock.advance(20)
    error_of(client.get("/v1/models"), 401)
    error_of(client.get("/v1/models"), 429)


def test_a_good_key_works_from_the_same_address(app: FastAPI, store: StubStore) -> None:
    client = guesser(app)
    spend(client)
    secret, key = new_api_key("acme", "good", 0.0)
    store.put_key(key)
    for _ in range(2 * PER_MINUTE):
        good = client.get("/v1/models", headers={"Authorization": f"Bearer {secret}"})
        assert good.status_code == 200
        error_of(client.get("/v1/models"), 429)


def test_other_addresses_have_tries_of_their_own(app: FastAPI) -> None:
    spend(guesser(app))
    error_of(guesser(app).get("/v1/models"), 429)
    spend(guesser(app, "192.0.2.2"))


def test_revoked_and_expired_keys_count_and_a_missing_one_does_not(
    app: FastAPI, store: StubStore, clock: FakeClock
) -> None:
    client = guesser(app)
    revoked, key = new_api_key("acme", "old", 0.0)
    store.put_key(replace(key, revoked_at=1.0))
    expired, key = new_api_key("acme", "late", 0.0, expires_at=clock.now() - 1)
    store.put_key(key)
    anonymous = TestClient(app, client=("192.0.2.1", 50_000))
    for _ in range(2 * PER_MINUTE):
        error_of(anonymous.get("/v1/models"), 401)
    for secret in (revoked, expired, "sk-pando-wrong"):
        headers = {"Authorization": f"Bearer {secret}"}
        error_of(client.get("/v1/models", headers=headers), 401)
    error_of(client.get("/v1/models"), 429)


def test_a_key_is_always_looked_up(
    app: FastAPI, store: StubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else how long an answer takes would tell whether a key is worth a try from elsewhere."""
    looked: list[str] = []
    monkeypatch.setattr(store, "find_key", looked.append)
    client = guesser(app)
    for _ in range(PER_MINUTE + 2):
        client.get("/v1/models")
    assert len(looked) == PER_MINUTE + 2


def test_without_a_count_nobody_is_held_up(
    app: FastAPI, store: StubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("Redis is away")

    monkeypatch.setattr(store, "take_failed_login", away)
    client = guesser(app)
    for _ in range(PER_MINUTE + 2):
        error_of(client.get("/v1/models"), 401)


@pytest.mark.parametrize("settings", [Settings(failed_logins_per_minute=0)])
def test_the_limit_can_be_lifted(app: FastAPI) -> None:
    client = guesser(app)
    for _ in range(100):
        error_of(client.get("/v1/models"), 401)


def test_metric_and_log_tell_of_it(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    registry: CollectorRegistry = app.state.services.metrics.registry

    def counted(outcome: str) -> float | None:
        return registry.get_sample_value("pando_api_failed_logins_total", {"outcome": outcome})

    assert (counted("refused"), counted("limited")) == (0, 0)
    client = guesser(app)
    with caplog.at_level(logging.WARNING, "pando_api.failed_logins"):
        spend(client)
        for _ in range(5):
            client.get("/v1/models")
    assert (counted("refused"), counted("limited")) == (PER_MINUTE, 5)
    (line,) = caplog.messages
    assert line == "3 wrong API keys a minute from 192.0.2.1: further wrong ones get a 429"


@pytest.mark.parametrize(
    ("peer", "counted_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_addresses_that_are_one_users_count_as_one(peer: str, counted_as: str) -> None:
    assert address_of(Request({"type": "http", "client": (peer, 1)})) == counted_as


def test_a_peer_without_an_address_has_one_count() -> None:
    assert address_of(Request({"type": "http", "client": None})) == "unknown"
