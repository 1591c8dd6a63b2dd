"""Redis asked once, quickly, for all that the checks judge."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.retry import Retry

from pando_cli.doctor.finding import Finding, fail

#: Seconds to connect, and for each answer.
TIMEOUT_SECONDS = 2.0
NAME = "Redis"


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """`address` is without the password.

    None where Redis does not let us see its configuration: `bound` (addresses it listens on; empty:
    all), `protected` (its protected mode), `snapshots` (whether it saves without being asked).
    `max_bytes` is 0 where no limit is set. `skew_seconds`: how far our clock is ahead of Redis's,
    known to within `skew_error_seconds`.
    """

    address: str
    version: str
    memory_policy: str
    appends: bool
    snapshots: bool | None
    asks_password: bool
    bound: tuple[str, ...] | None
    protected: bool | None
    used_bytes: int
    max_bytes: int
    machine_bytes: int
    evicted_keys: int
    append_written: bool
    append_rewritten: bool
    snapshot_saved: bool
    #: Redis's time, in seconds.
    now: float
    skew_seconds: float
    skew_error_seconds: float


def read_redis(url: str, clock: Callable[[], float] = time.time) -> RedisFacts | Finding:
    """The facts, or the finding that they cannot be had."""
    try:
        client = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
    except ValueError:
        # Not the error's own text: it may quote a part of the password.
        return fail(
            NAME,
            "PANDO_REDIS_URL is no Redis URL",
            "Write it as redis://:PASSWORD@HOST:PORT/0, special characters of the password "
            "percent-encoded.",
        )
    address = _address(client)
    with client:
        try:
            return _read(client, address, clock)
        except AuthenticationError:
            return fail(
                NAME,
                f"{address} refuses the password",
                "Put the password of its `requirepass` into PANDO_REDIS_URL; of a `pando up` stack "
                "it stands in redis/address.json in the home.",
            )
        except ResponseError as error:
            return fail(
                NAME,
                f"{address} does not answer INFO or TIME: {error}",
                "Allow its user both commands (ACL SETUSER NAME +info +time).",
            )
        except RedisError as error:
            return fail(
                NAME,
                f"{address} does not answer: {error}",
                "Start it (`pando up` does, with the stack), or correct PANDO_REDIS_URL; "
                "redis.log in the home's logs says why it ended.",
            )


def _read(client: Redis, address: str, clock: Callable[[], float]) -> RedisFacts:
    client.ping()  # connects, which would count as delay below
    asked = clock()
    seconds, microseconds = _any(client.time())
    answered = clock()
    now = int(seconds) + int(microseconds) / 1e6
    info: dict[str, Any] = _any(client.info())
    bound, save, protected = (_setting(client, name) for name in ("bind", "save", "protected-mode"))
    return RedisFacts(
        address=address,
        version=str(info["redis_version"]),
        memory_policy=str(info.get("maxmemory_policy", "")),
        appends=bool(info.get("aof_enabled")),
        snapshots=None if save is None else bool(save),
        asks_password=_asks_password(client),
        bound=None if bound is None else tuple(bound.split()),
        protected=None if protected is None else protected == "yes",
        used_bytes=int(info.get("used_memory", 0)),
        max_bytes=int(info.get("maxmemory", 0)),
        machine_bytes=int(info.get("total_system_memory", 0)),
        evicted_keys=int(info.get("evicted_keys", 0)),
        append_written=info.get("aof_last_write_status", "ok") == "ok",
        append_rewritten=info.get("aof_last_bgrewrite_status", "ok") == "ok",
        snapshot_saved=info.get("rdb_last_bgsave_status", "ok") == "ok",
        now=now,
        skew_seconds=(asked + answered) / 2 - now,
        skew_error_seconds=(answered - asked) / 2,
    )


def _setting(client: Redis, name: str) -> str | None:
    """None: hosted Redis often forbids CONFIG."""
    try:
        found: dict[str, str] = _any(client.config_get(name))
    except ResponseError:
        return None
    return found.get(name)


def _asks_password(client: Redis) -> bool:
    """Whether somebody who gives none is turned away."""
    pool = client.connection_pool
    given = {"username", "password", "credential_provider"}
    options = {k: v for k, v in pool.connection_kwargs.items() if k not in given}
    anonymous = Redis(
        connection_pool=ConnectionPool(connection_class=pool.connection_class, **options)
    )
    try:
        anonymous.ping()
    except RedisError:
        return True
    finally:
        anonymous.connection_pool.disconnect()
    return False


def _address(client: Redis) -> str:
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _any(answer: Any) -> Any:
    """The client's types are those of its asynchronous twin too."""
    return answer
