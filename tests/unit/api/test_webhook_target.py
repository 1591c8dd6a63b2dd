"""Whom a user's URL can make this server write to, and whom it cannot."""

from __future__ import annotations

import ipaddress
from ipaddress import ip_network

import httpcore
import pytest

from pando_api.webhook_target import CheckedNetwork, check_url, may_reach, resolve
from pando_shared.errors import InvalidRequest

HOME = ip_network("10.1.0.0/16")

FORBIDDEN = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:0001::",
    "2002:0a00:0001::",
    "::7f00:1",
    "::ffff:0:7f00:1",
    "64:ff9b:1::7f00:1",
    "fec0::1",
    "3fff::1",
    "5f00::1",
    "2001:0:7f00:1::",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_the_sites_own_addresses_are_out_of_reach(address: str) -> None:
    assert not may_reach(ipaddress.ip_address(address), ())


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07::1", "64:ff9b::5db8:d70e"]
)
def test_the_worlds_are_not(address: str) -> None:
    assert may_reach(ipaddress.ip_address(address), ())


def test_what_an_operator_allows_is_in_reach_and_nothing_beside_it() -> None:
    assert may_reach(ipaddress.ip_address("10.1.2.3"), [HOME])
    assert may_reach(ipaddress.ip_address("::ffff:10.1.2.3"), [HOME])
    assert not may_reach(ipaddress.ip_address("10.2.0.1"), [HOME])


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com",
        "https://",
        "example.com",
        "https://user:pass@example.com/",
        "https://user@example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://example.com:22/",
        "https://example.com:99999/",
        "https://example.com/a b",
        "https://example.com/\r\nX-Injected: 1",
        "https://example.com\\@127.0.0.1/",
        "https://exämple.com/",
        "https://[::1",
        "https://example.com/#part",
        "https://example.com/" + "a" * 2100,
        "file:///etc/passwd",
        "gopher://example.com/",
    ],
)
def test_a_url_that_should_not_be_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_url(url, ())
    assert refusal.value.param == "url"


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://example.com:8443/hook?a=1", "https://93.184.215.14/"]
)
def test_a_url_of_the_world_is_taken(url: str) -> None:
    assert check_url(url, ()) == url


def test_http_is_for_networks_that_an_operator_allows() -> None:
    assert check_url("http://10.1.0.9:8080/hook", [HOME]) == "http://10.1.0.9:8080/hook"
    with pytest.raises(InvalidRequest):
        check_url("http://10.2.0.9:8080/hook", [HOME])


@pytest.mark.parametrize("disguise", ["2130706433", "0x7f.1", "127.1", "017700000001", "localhost"])
async def test_a_disguise_that_the_resolver_sees_through_is_refused(disguise: str) -> None:
    assert "127.0.0.1" in await resolve(disguise, 443) or "::1" in await resolve(disguise, 443)
    with pytest.raises(httpcore.ConnectError, match="no public address"):
        await CheckedNetwork(()).connect_tcp(disguise, 443, timeout=5.0)


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["fe80::1%eth0"]]
)
async def test_a_name_that_leads_home_is_refused_when_it_is_connected_to(
    answers: list[str],
) -> None:
    async def rebound(host: str, port: int) -> list[str]:
        return answers

    with pytest.raises(httpcore.ConnectError, match="no public address") as refused:
        await CheckedNetwork((), rebound).connect_tcp("rebind.example.com", 443, timeout=5.0)
    # Or whoever may set a webhook could look up the site's own names.
    assert not any(address in str(refused.value) for address in answers)


@pytest.mark.parametrize("failure", [OSError("no such name"), UnicodeError("label too long")])
async def test_a_name_that_cannot_be_resolved_is_no_connection(failure: Exception) -> None:
    async def fails(host: str, port: int) -> list[str]:
        raise failure

    with pytest.raises(httpcore.ConnectError, match="cannot be resolved"):
        await CheckedNetwork((), fails).connect_tcp("x.example.com", 443, timeout=5.0)
