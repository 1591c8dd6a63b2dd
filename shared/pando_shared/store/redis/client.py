"""The connection to Redis: patient with a restart, and clear when Redis stays away."""

from __future__ import annotations

import functools
import inspect
import secrets
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from pando_shared.errors import Unavailable
from pando_shared.store.redis import keys

#: Seconds without an answer after which a connection counts as dead.
SOCKET_TIMEOUT_SECONDS = 10.0
#: Seconds of one blocking read; it must end before the socket's own timeout does.
LONGEST_BLOCK_SECONDS = 5.0
#: How long a transaction can be recognised as done: longer than the client repeats a command.
TOKEN_SECONDS = 60

#: Words of Redis's answers where it is well and takes no writes now, and what helps. redis-py has
#: classes for some, but knows none of them in the answer of a script.
_REFUSALS = {
    "used memory > 'maxmemory'": "its memory is full; raise its maxmemory",
    "read only replica": "it is a replica; PANDO_REDIS_URL must lead to the primary",
    "MISCONF ": "it cannot write to its disk; see whether that is full",
    "NOREPLICAS ": "it has too few replicas to take writes",
    "MASTERDOWN ": "it is a replica that does not reach its primary",
}

_T = TypeVar("_T")
_Class = TypeVar("_Class", bound=type)


def connect(url: str) -> Redis:
    """A client that tries a failed command again for about ten seconds, with growing pauses."""
    return Redis.from_url(
        url,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=2.0), retries=10),
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=5.0,
        socket_keepalive=True,
        health_check_interval=25,
    )


def transact(redis: Redis, watched: Sequence[str], body: Callable[[Pipeline], _T]) -> _T:
    """Run `body` and the commands it queues as one atomic change; return what it returns.

    `body` reads, then calls `pipe.multi()` and queues its writes. It runs again if a watched key
    changed in between. redis-py reports a connection that broke in the same way, although the
    writes may have happened by then; a token written with them tells.
    """
    token = keys.written(secrets.token_hex(8))
    while True:
        with redis.pipeline() as pipe:
            try:
                pipe.watch(*watched)
                result = body(pipe)
                if len(pipe):
                    pipe.set(token, 1, ex=TOKEN_SECONDS)
                    pipe.execute()
            except WatchError:
                if not redis.exists(token):
                    continue
            return result


def script(name: str) -> str:
    """The Lua source `scripts/<name>.lua`."""
    return resources.files(__package__).joinpath("scripts", f"{name}.lua").read_text()


def reports_outages(cls: _Class) -> _Class:
    """Make every public method raise `Unavailable` where Redis does not answer or takes no writes.

    Callers outside the store then need not know Redis's own errors.
    """
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        if not name.startswith("_"):
            setattr(cls, name, _reporting(method))
    return cls


def _reporting(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise Unavailable(f"Redis is not available: {error}") from error
        except ResponseError as error:
            reason = _refusal(str(error))
            if reason is None:
                raise
            raise Unavailable(f"Redis takes no writes now: {reason}") from error

    return call


def _refusal(answer: str) -> str | None:
    """Why Redis refuses for now, if that is what an error of it says."""
    return next((reason for words, reason in _REFUSALS.items() if words in answer), None)
