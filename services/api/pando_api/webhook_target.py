"""Which addresses a webhook may go to: the world's, and none of the site's own unless allowed.

A user's URL makes this server send a request (SSRF). What counts is therefore where the connection
goes in the end: names are resolved here, every address is judged, and the connection is made to the
address that was judged, so that a name that resolves differently the next moment changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from urllib.parse import urlsplit

import httpcore

from pando_shared.errors import InvalidRequest

log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: Addresses of a name, as text; asked each time a connection is made.
Resolve = Callable[[str, int], Coroutine[Any, Any, list[str]]]

_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f\\]")
#: Translates IPv4 for hosts that have IPv6 only (RFC 6052): the address is in the last 32 bits.
_NAT64 = IPv6Network("64:ff9b::/96")
#: All that is given out of IPv6 to the world (RFC 4291). Outside lie the site-local fec0::/10, a
#: site's own NAT64 64:ff9b:1::/48, and IPv4 as ::a.b.c.d or ::ffff:0:a.b.c.d, which not every
#: Python knows for what they are.
_UNICAST = IPv6Network("2000::/3")
#: For documentation (RFC 9637); new enough to be unknown to Python.
_DOCUMENTATION = IPv6Network("3fff::/20")


def check_url(url: str, allowed: Sequence[Network]) -> str:
    """A URL that a webhook may have, as far as can be told before its name is resolved.

    Raises:
        InvalidRequest: it says what is wrong.
    """
    if len(url) > 2048 or not url.isascii() or _CONTROL_OR_SPACE.search(url):
        raise _refused("must be at most 2048 ASCII characters, without spaces or backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _refused(f"cannot be understood: {error}") from None
    schemes = ("https", "http") if allowed else ("https",)
    if parts.scheme not in schemes or not host:
        raise _refused("must begin with https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise _refused("must hold no user name or password")
    if parts.fragment:
        raise _refused("must have no #fragment")
    if port is not None and port < 1024 and port not in (80, 443):
        raise _refused(f"names port {port}, which is another service's")
    literal = _address(host)
    if literal is not None and not may_reach(literal, allowed):
        raise _refused(f"leads to {host}, which is no public address; {_HOW}")
    return url


_HOW = "an operator may allow its network with PANDO_WEBHOOK_ALLOW"


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"url {reason}", param="url")


def may_reach(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether it is public, also as the IPv4 that an IPv6 one disguises, or in `allowed`."""
    if any(address in network for network in allowed):
        return True
    inner = _inner(address)
    if inner is not None:
        return may_reach(inner, allowed)
    if isinstance(address, IPv6Address) and (address not in _UNICAST or address in _DOCUMENTATION):
        return False
    return address.is_global and not address.is_multicast


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to, if it is such a one."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def resolve(host: str, port: int) -> list[str]:
    """By the system's resolver. Takes 0x7f.1 and 2130706433 for the addresses that they are."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that a webhook may reach, and to no other.

    If a name has one that it may not, none is tried: nobody public mixes them.
    """

    def __init__(self, allowed: Sequence[Network], resolve: Resolve = resolve):
        self._allowed, self._resolve = allowed, resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await asyncio.wait_for(self._resolve(host, port), timeout)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} is not resolved in time") from error
        for address in addresses:
            if not may_reach(ipaddress.ip_address(address.partition("%")[0]), self._allowed):
                # The user is not told which: the site's own names would be an open book.
                log.warning("a webhook's host %s leads to %s", host, address)
                raise httpcore.ConnectError(f"{host} leads to no public address; {_HOW}")
        if not addresses:
            raise httpcore.ConnectError(f"{host} has no address")
        return await self._inner.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )
