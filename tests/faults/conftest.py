"""A cluster that stays up for all tests of this folder that break one, and mends itself between."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from tcp_proxy import Network

from chaos.cluster import Cluster, running_cluster
from chaos.workload import Tenants


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("faults") / "home"
    with running_cluster(home, 2, ("acme", "globex")) as made:
        yield made


@pytest.fixture(scope="session")
def tenants(cluster: Cluster) -> Tenants:
    made = Tenants(cluster)
    made.upload()
    return made
