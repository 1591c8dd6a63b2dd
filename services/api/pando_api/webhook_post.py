"""Sending one signed event to one endpoint."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import httpcore

from pando_api.webhook_target import CheckedNetwork, Network, Resolve, resolve
from pando_shared.webhooks import Delivery, WebhookEndpoint, signature_headers

#: Connecting, sending and waiting for the answer may each take so long.
TIMEOUT_SECONDS = 10.0
_FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError)


class NotDelivered(Exception):
    """There was no answer; it says why."""


class WebhookPost:
    """A connection for each event: receivers are many, and events few."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolve = resolve):
        self._allowed = allowed
        self._network = CheckedNetwork(allowed, resolve)
        self._tls = ssl.create_default_context()

    async def send(self, endpoint: WebhookEndpoint, delivery: Delivery, now: float) -> int:
        """The status of the answer. Redirects are not followed, and the answer is not read.

        Raises:
            NotDelivered: there was none.
        """
        body = delivery.body
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Pando-Webhooks/1",
            **signature_headers(endpoint.secrets(now), delivery.id, int(now), body),
        }
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_SECONDS)
        try:
            async with (
                httpcore.AsyncConnectionPool(
                    ssl_context=self._tls, network_backend=self._network
                ) as pool,
                pool.stream(
                    "POST",
                    endpoint.url,
                    headers=list(headers.items()),
                    content=body,
                    extensions={"timeout": timeouts},
                ) as response,
            ):
                return int(response.status)
        except _FAILURES as error:
            raise NotDelivered(str(error) or type(error).__name__) from error
