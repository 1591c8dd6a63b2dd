"""Which release a process runs, for Prometheus."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge


def show_build(service: str, registry: CollectorRegistry, distribution: str | None = None) -> None:
    """`pando_build_info{service, version} 1`, as is usual for joining a version to other series.

    `distribution`: which package's version it is, if it does not have the service's name.
    """
    built = Gauge(
        "pando_build_info", "Which release runs", ["service", "version"], registry=registry
    )
    built.labels(service, version(distribution or f"pando-{service}")).set(1)
