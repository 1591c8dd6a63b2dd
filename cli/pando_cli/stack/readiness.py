"""When a stack is ready: the API says so, and a worker that can train is alive."""

from __future__ import annotations

import httpx

from pando_cli.api import Api
from pando_cli.client_config import ClientConfig
from pando_cli.errors import KeyRejected, Refused, Unreachable


class Readiness:
    """A question that is cheap to ask again and again."""

    def __init__(
        self, config: ClientConfig, workers: int, transport: httpx.BaseTransport | None = None
    ):
        self._workers = workers
        self._api = Api(config, transport)
        self._http = httpx.Client(base_url=config.url, timeout=2.0, transport=transport)

    def __call__(self) -> bool:
        return self.lacking() is None

    def lacking(self) -> str | None:
        """What is not there yet, in words; None if nothing is missing."""
        try:
            if not self._http.get("/readyz").is_success:
                return "the API answers but is not ready"
            alive = [worker for worker in self._api.workers()["data"] if worker["alive"]]
        except (httpx.TransportError, Unreachable):
            return "the API does not answer yet"
        except (Refused, KeyRejected) as error:
            return f"the API refuses us: {error.message}"
        if len(alive) < self._workers:
            return f"{len(alive)} of {self._workers} workers have reported"
        return None
