"""TCP ports on this machine: which are free, and who has those that are not."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import psutil

from pando_cli.errors import StackError


def free_port(host: str, preferred: int | None = None) -> int:
    """`preferred` if nobody listens there, else any port that is free now."""
    if preferred is not None and is_free(host, preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(host: str, count: int) -> list[int]:
    """That many different ports, all free now."""
    with ExitStack() as probes:
        found: list[int] = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket())
            probe.bind((host, 0))
            found.append(probe.getsockname()[1])
        return found


def is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free(host: str, port: int) -> None:
    """Raises StackError if somebody listens on the port, and names them where we may know."""
    if is_free(host, port):
        return
    owner = owner_of(port)
    raise StackError(
        f"port {port} on {host} is already in use" + (f" by {owner}" if owner else ""),
        code="port_in_use",
        hint="Choose another with --port, or --port 0 for any free one.",
    )


def owner_of(port: int) -> str | None:
    """Name and id of the process that listens on the port, where we may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr:
                continue
            if connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return None
