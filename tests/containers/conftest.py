"""The images, built as users build them, and one cluster of them for all tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from compose_cluster import ComposeCluster, engine_answers

#: Grafana is left out where its image cannot be had.
SERVICES = ("redis", "api", "scheduler", "prepare", "worker", "prometheus")
IMAGES = ("pando-api", "pando-scheduler", "pando-worker")


def _grafana_is_here() -> bool:
    image = os.environ.get("GRAFANA_IMAGE", "grafana/grafana:12.1.0")
    found = subprocess.run(["docker", "image", "inspect", image], capture_output=True)
    return found.returncode == 0


@pytest.fixture(scope="session")
def images() -> tuple[str, ...]:
    """Their names, once they are built from this checkout."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    ComposeCluster(()).compose("build", "api", "scheduler", "worker")
    return IMAGES


@pytest.fixture(scope="session")
def cluster(images: tuple[str, ...]) -> Iterator[ComposeCluster]:
    services = (*SERVICES, "grafana") if _grafana_is_here() else SERVICES
    with ComposeCluster(services).running() as made:
        yield made
