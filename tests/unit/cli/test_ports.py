from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from pando_cli.errors import StackError
from pando_cli.stack.ports import free_port, is_free, require_free

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_can_be_had() -> None:
    port = free_port(HOST)
    assert is_free(HOST, port)
    require_free(HOST, port)


def test_the_preferred_port_if_nobody_has_it() -> None:
    port = free_port(HOST)
    assert free_port(HOST, preferred=port) == port


def test_another_if_somebody_has(taken: int) -> None:
    assert free_port(HOST, preferred=taken) != taken


def test_who_has_the_port_is_said(taken: int) -> None:
    with pytest.raises(StackError, match=f"port {taken} .*process {os.getpid()}") as caught:
        require_free(HOST, taken)
    assert "--port" in str(caught.value.hint)


@pytest.mark.parametrize("host", ["256.1.1.1", "192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_not_called_taken(host: str) -> None:
    """192.0.2.0/24 is for documentation, and nobody's."""
    for ask in (lambda: require_free(host, 8000), lambda: free_port(host)):
        with pytest.raises(StackError, match=f"cannot listen on {host}: ") as caught:
            ask()
        assert "--host" in str(caught.value.hint)
