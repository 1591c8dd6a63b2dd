"""TCP ports on this machine: which are free, and who has those that are not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil

from pando_cli.errors import StackError


def free_port(host: str, preferred: int | None = None) -> int:
    """`preferred` if nobody listens there, else any port that is free now.

    Raises:
        StackError: the host is none of this machine's addresses.
    """
    if preferred is not None and is_free(host, preferred):
        return preferred
    with _bound(host) as probe:
        port: int = probe.getsockname()[1]
        return port


def free_ports(host: str, count: int) -> list[int]:
    """That many different ports, all free now."""
    with ExitStack() as probes:
        found = [probes.enter_context(_bound(host)) for _ in range(count)]
        return [probe.getsockname()[1] for probe in found]


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
    """Raises StackError if we may not listen there, or somebody does: who, where we may know."""
    with _bound(host):
        pass
    if is_free(host, port):
        return
    owner = owner_of(port)
    raise StackError(
        f"port {port} on {host} is "
        + (f"already in use by {owner}" if owner else "already in use, or only root's to use"),
        code="port_in_use",
        hint="Choose another with --port, or --port 0 for any free one.",
    )


@contextmanager
def _bound(host: str) -> Iterator[socket.socket]:
    """On any port that is free, for as long as the block runs."""
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise StackError(
                f"cannot listen on {host}: {error.strerror or error}",
                code="no_such_address",
                hint="--host wants an address of this machine: 127.0.0.1, or 0.0.0.0 for all.",
            ) from error
        yield probe


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
