"""What the API tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import Scope

from pando_api.store_metrics import StoreMetrics
from pando_shared.build_info import show_build
from pando_shared.clock import Clock
from pando_shared.settings import Settings
from pando_shared.store import Store

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """One application's registry; nothing global, so that tests may make many applications."""

    def __init__(self, store: Store, settings: Settings, clock: Clock):
        self.registry = CollectorRegistry()
        show_build("api", self.registry)
        self._requests = Histogram(
            "pando_api_request_duration_seconds",
            "Time from a request's arrival to its answer's last byte.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.webhook_deliveries = Counter(
            "pando_webhook_deliveries",
            "Attempts to deliver an event, by what came of it",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("delivered", "failed", "given_up", "dropped"):
            self.webhook_deliveries.labels(outcome)  # at 0, so that the first is an increase
        self.failed_logins = Counter(
            "pando_api_failed_logins",
            "Requests with a wrong API key, and whether their address had tries left",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("refused", "limited"):
            self.failed_logins.labels(outcome)  # at 0, so that the first is an increase
        self.registry.register(StoreMetrics(store, settings, clock))

    def observe_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a finished request under its route's template, so that ids make no new series."""
        route = getattr(scope.get("route"), "path", "unmatched")
        self._requests.labels(scope["method"], route, str(status)).observe(seconds)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry)
