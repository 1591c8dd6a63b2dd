"""When a stack is ready: the API says so, and all its own training workers have reported."""

from __future__ import annotations

from collections.abc import Collection

import httpx

from pando_cli.api import Api
from pando_cli.client_config import ClientConfig
from pando_cli.errors import KeyRejected, Refused, Unreachable


class Readiness:
    """A question that is cheap to ask again and again.

    A heartbeat from before `since` (Unix seconds) is that of an earlier stack in the same home.
    """

    def __init__(
        self,
        config: ClientConfig,
        worker_ids: Collection[str],
        since: float,
        transport: httpx.BaseTransport | None = None,
    ):
        self._worker_ids = frozenset(worker_ids)
        self._since = since
        self._api = Api(config, transport)
        self._http = httpx.Client(base_url=config.url, timeout=2.0, transport=transport)

    def lacking(self) -> str | None:
        """What is not there yet, in words; None if nothing is missing."""
        try:
            if not self._http.get("/readyz").is_success:
                return "the API answers but is not ready"
            workers = self._api.workers()["data"]
        except (httpx.TransportError, Unreachable):
            return "the API does not answer yet"
        except (Refused, KeyRejected) as error:
            return f"the API refuses us: {error.message}"
        fresh = {w["id"] for w in workers if w["alive"] and w["last_heartbeat_at"] >= self._since}
        missing = sorted(self._worker_ids - fresh)
        return f"waiting for worker {', '.join(missing)}" if missing else None
