"""Where Prometheus finds a worker."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from pando_shared.settings import Settings

_EVERYWHERE = ("", "0.0.0.0", "::")


def metrics_address(settings: Settings) -> str | None:
    """`host:port` of a worker's metrics; None: it serves none.

    One that listens everywhere names the address by which it reaches Redis: by that, those who
    share Redis with it reach it too.
    """
    port = settings.metrics_port
    if port is None:
        return None
    host = settings.host
    if host in _EVERYWHERE:
        parts = urlsplit(settings.redis_url)
        host = _own_address_towards(parts.hostname or "localhost", parts.port or 6379)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _own_address_towards(host: str, port: int) -> str:
    """The address of ours that packets to `host` leave from. Sends nothing."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as way:
        way.connect(address)
        return str(way.getsockname()[0])
