"""The ports that `pando up` would listen on."""

from __future__ import annotations

import errno
import json
import socket

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_cli.home import Home
from pando_cli.stack.ports import is_free, owner_of

API, REDIS = "port of the API", "port of Redis"


def api_port(host: str, port: int) -> Finding:
    finding = _port(API, host, port)
    if finding is not None:
        return finding
    return warn(
        API,
        _taken(host, port),
        "`pando up --port N` takes another one, `--port 0` any that is free.",
    )


def redis_port(home: Home) -> Finding:
    """The one that the home's Redis had last; another is taken if it is not free."""
    host, port = "127.0.0.1", _last_redis_port(home)
    if port is None:
        return skipped(REDIS, "any that is free; the home's Redis has had none yet")
    finding = _port(REDIS, host, port)
    if finding is not None:
        return finding
    return warn(
        REDIS,
        _taken(host, port),
        "`pando up` would take another; workers on other machines would need the new one.",
    )


def running(why: str) -> list[Finding]:
    return [skipped(API, why), skipped(REDIS, why)]


def _port(name: str, host: str, port: int) -> Finding | None:
    """None: somebody has it."""
    if is_free(host, port):
        return ok(name, f"{port} on {host} is free")
    error = _refusal(host, port)
    if error is None or error.errno == errno.EADDRINUSE:
        return None
    return fail(
        name,
        f"{port} on {host} cannot be listened on: {error.strerror or error}",
        "Choose an address of this machine (--host), and a port above 1023 (--port).",
    )


def _refusal(host: str, port: int) -> OSError | None:
    """Why it cannot be listened on; None if by now it can."""
    try:
        with socket.create_server((host, port)):
            return None
    except OSError as error:
        return error


def _taken(host: str, port: int) -> str:
    return f"{port} on {host} is taken by {owner_of(port) or 'another user’s process'}"


def _last_redis_port(home: Home) -> int | None:
    try:
        return int(json.loads((home.redis / "address.json").read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
