"""The cluster behind a proxy on its machine, which docs/containers.md tells it to trust."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from compose_cluster import ComposeCluster, eventually
from docs_commands import blocks

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

NAME = "PANDO_TRUSTED_PROXIES"


@pytest.fixture
def trusting(cluster: ComposeCluster) -> Iterator[ComposeCluster]:
    """With what the page has for `.env`."""
    shown = "\n".join(block.text for block in blocks("docs/containers.md"))
    (networks,) = re.findall(rf"^{NAME}=(\S+)$", shown, re.MULTILINE)
    cluster.variables |= {NAME: networks, "PANDO_FAILED_LOGINS_PER_MINUTE": "4"}
    _replace_api(cluster)
    yield cluster
    del cluster.variables[NAME], cluster.variables["PANDO_FAILED_LOGINS_PER_MINUTE"]
    _replace_api(cluster)


def _replace_api(cluster: ComposeCluster) -> None:
    cluster.compose("up", "--detach", "--no-deps", "api")
    eventually(cluster.ready, 120, "the API is not ready")


def guess(cluster: ComposeCluster, told: str) -> int:
    """The status of a wrong key that a proxy on this machine passes on from an address."""
    headers = {"Authorization": "Bearer sk-pando-wrong", "X-Forwarded-For": told}
    return httpx.get(f"{cluster.url}/v1/models", headers=headers).status_code


def test_wrong_keys_are_their_senders_and_not_the_proxys(trusting: ComposeCluster) -> None:
    assert [guess(trusting, "192.0.2.1") for _ in range(5)] == [401] * 4 + [429]
    assert [guess(trusting, "192.0.2.2") for _ in range(5)] == [401] * 4 + [429]


def test_without_the_setting_all_senders_are_the_proxy(cluster: ComposeCluster) -> None:
    """20 wrong keys a minute are allowed where nothing says otherwise."""
    assert any(guess(cluster, f"192.0.2.{number}") == 429 for number in range(100))
