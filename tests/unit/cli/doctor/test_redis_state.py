"""What is said of a real Redis that is as it should be, and of one that is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from redis_process import free_port

from pando_cli.doctor import redis_facts
from pando_cli.doctor.clock_skew import clock_skew
from pando_cli.doctor.finding import Finding, Status
from pando_cli.doctor.redis_facts import RedisFacts, read_redis
from pando_cli.doctor.redis_state import (
    access,
    evicted,
    eviction,
    last_save,
    memory,
    persistence,
    redis_state,
    version,
)

CHANGED = ("maxmemory", "maxmemory-policy", "appendonly", "save", "requirepass", "protected-mode")


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client; what a test configures is undone after it."""
    with Redis.from_url(redis_url) as client:
        before = {name: client.config_get(name)[name] for name in CHANGED}
        yield client
        for name, value in before.items():
            client.config_set(name, value)
        client.config_resetstat()


@pytest.fixture
def facts(redis_url: str) -> RedisFacts:
    return read(redis_url)


def read(url: str) -> RedisFacts:
    found = read_redis(url)
    assert isinstance(found, RedisFacts), found
    return found


def test_one_that_is_as_it_should_be(facts: RedisFacts) -> None:
    assert {finding.status for finding in redis_state(facts)} == {Status.OK}


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("6.2.0", Status.OK),
        ("7.4.1", Status.OK),
        ("6.0.20", Status.FAIL),
        ("unstable", Status.WARN),
    ],
)
def test_version(facts: RedisFacts, told: str, status: Status) -> None:
    assert version(replace(facts, version=told)).status is status


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        ("noeviction", Status.OK),
        ("volatile-lru", Status.WARN),
        ("allkeys-lru", Status.FAIL),
    ],
)
def test_eviction(redis: Redis, redis_url: str, policy: str, status: Status) -> None:
    redis.config_set("maxmemory-policy", policy)
    found = eviction(read(redis_url))
    assert found.status is status
    assert policy in found.found
    assert ("CONFIG SET maxmemory-policy noeviction" in found.mend) == (status is not Status.OK)


def test_a_policy_that_is_not_told(facts: RedisFacts) -> None:
    assert eviction(replace(facts, memory_policy="")).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("appendonly", "save", "status"),
    [("yes", "", Status.OK), ("no", "3600 1", Status.WARN), ("no", "", Status.FAIL)],
)
def test_persistence(
    redis: Redis, redis_url: str, appendonly: str, save: str, status: Status
) -> None:
    redis.config_set("appendonly", appendonly)
    redis.config_set("save", save)
    assert persistence(read(redis_url)).status is status


def test_snapshots_that_are_not_told(facts: RedisFacts) -> None:
    unclear = replace(facts, appends=False, snapshots=None)
    assert persistence(unclear).status is Status.WARN


def test_a_password_is_noticed(redis: Redis, redis_url: str) -> None:
    redis.config_set("requirepass", "geheim")
    found = read(redis_url.replace("redis://", "redis://:geheim@"))
    assert found.asks_password
    assert access(replace(found, bound=())).status is Status.OK
    assert "geheim" not in repr(found)


def test_protection_is_read(redis: Redis, redis_url: str) -> None:
    redis.config_set("protected-mode", "no")
    found = read(redis_url)
    assert (found.asks_password, found.bound, found.protected) == (False, ("127.0.0.1",), False)


@pytest.mark.parametrize(
    ("bound", "protected", "status"),
    [
        (("127.0.0.1", "-::1"), False, Status.OK),
        (("127.0.0.1", "10.0.0.5"), True, Status.WARN),
        (("127.0.0.1", "10.0.0.5"), False, Status.FAIL),
        ((), False, Status.FAIL),
        (("*", "-::*"), False, Status.FAIL),
        (None, None, Status.WARN),
    ],
)
def test_access_without_a_password(
    facts: RedisFacts, bound: tuple[str, ...] | None, protected: bool | None, status: Status
) -> None:
    found = access(replace(facts, asks_password=False, bound=bound, protected=protected))
    assert found.status is status


@pytest.mark.parametrize(
    ("used", "limit", "machine", "status"),
    [
        (10, 100, 1000, Status.OK),
        (80, 100, 1000, Status.WARN),
        (95, 100, 1000, Status.FAIL),
        (95, 0, 1000, Status.OK),
        (960, 0, 1000, Status.FAIL),
        (960, 0, 0, Status.OK),
    ],
)
def test_memory(facts: RedisFacts, used: int, limit: int, machine: int, status: Status) -> None:
    some = replace(facts, used_bytes=used, max_bytes=limit, machine_bytes=machine)
    assert memory(some).status is status


def test_a_full_redis_that_forgets(redis: Redis, redis_url: str) -> None:
    before = read(redis_url)
    assert evicted(before).status is Status.OK
    redis.config_set("maxmemory-policy", "allkeys-lru")
    # Room for far more than buffers take, so that keys are all that has to go.
    redis.config_set("maxmemory", before.used_bytes + (32 << 20))
    for index in range(1024):
        redis.set(f"key{index}", b"x" * (1 << 16))
    after = read(redis_url)
    assert evicted(after).status is Status.FAIL
    assert "pando recover" in evicted(after).mend


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, Status.OK),
        ({"append_rewritten": False}, Status.WARN),
        ({"append_written": False}, Status.FAIL),
        ({"snapshot_saved": False}, Status.FAIL),
        ({"append_written": False, "appends": False}, Status.OK),
    ],
)
def test_last_save(facts: RedisFacts, change: dict[str, bool], status: Status) -> None:
    assert last_save(replace(facts, **change)).status is status  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ahead", "status"),
    [
        (0.0, Status.OK),
        (0.9, Status.OK),
        (-2.0, Status.WARN),
        (2.0, Status.WARN),
        (30.0, Status.FAIL),
        (-30.0, Status.FAIL),
    ],
)
def test_clock_skew(redis: Redis, redis_url: str, ahead: float, status: Status) -> None:
    def clock() -> float:
        seconds, microseconds = redis.time()
        return float(seconds) + float(microseconds) / 1e6 + ahead

    facts = read_redis(redis_url, clock)
    assert isinstance(facts, RedisFacts)
    assert facts.skew_seconds == pytest.approx(ahead, abs=0.5)
    assert clock_skew(replace(facts, skew_error_seconds=0.0)).status is status


def test_a_slow_answer_is_no_skew(facts: RedisFacts) -> None:
    slow = replace(facts, skew_seconds=1.5, skew_error_seconds=1.0)
    assert clock_skew(slow).status is Status.OK


def failure(url: str) -> Finding:
    found = read_redis(url)
    assert isinstance(found, Finding)
    assert found.status is Status.FAIL
    assert found.mend
    return found


def test_nobody_listens() -> None:
    port = free_port()
    assert f"127.0.0.1:{port}" in failure(f"redis://:geheim@127.0.0.1:{port}/0").found


def test_one_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_facts, "TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "does not answer" in failure(f"redis://127.0.0.1:{port}/0").found


def test_a_wrong_password(redis: Redis, redis_url: str) -> None:
    redis.config_set("requirepass", "geheim")
    assert "refuses the password" in failure(redis_url).found
    wrong = failure(redis_url.replace("redis://", "redis://:falsch@"))
    assert "refuses the password" in wrong.found
    assert "falsch" not in repr(wrong)


@pytest.mark.parametrize("url", ["redis://:ge/heim@127.0.0.1:6379/0", "http://:geheim@x"])
def test_a_url_that_is_none_is_not_quoted(url: str) -> None:
    assert "heim" not in repr(failure(url))


def test_a_user_who_may_not_ask(redis: Redis, redis_url: str) -> None:
    redis.acl_setuser("narrow", enabled=True, passwords=["+geheim"], commands=["+ping", "+time"])
    try:
        found = failure(redis_url.replace("redis://", "redis://narrow:geheim@"))
    finally:
        redis.acl_deluser("narrow")
    assert "INFO" in found.found
    assert "ACL SETUSER" in found.mend


def test_configuration_that_is_forbidden(redis: Redis, redis_url: str) -> None:
    redis.acl_setuser(
        "hosted", enabled=True, passwords=["+geheim"], commands=["+ping", "+time", "+info"]
    )
    try:
        found = read(redis_url.replace("redis://", "redis://hosted:geheim@"))
    finally:
        redis.acl_deluser("hosted")
    assert (found.bound, found.protected, found.snapshots) == (None, None, None)
    assert found.appends


def test_a_socket_of_files(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    assert str(path) in failure(f"unix://:geheim@{path}").found
