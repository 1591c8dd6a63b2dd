"""From a child's registry to the port that its parent serves."""

from __future__ import annotations

import threading
from contextlib import suppress
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from pando_shared.build_info import show_build
from pando_worker.relay.children import ChildrenMetrics, is_own_child
from pando_worker.relay.sender import MetricsSender
from pando_worker.relay.wire import Wire


class MetricsRelay:
    """Made and served by the parent, before it forks; each child then joins it.

    `registry` has what is served: a child's numbers come up to a second late. A counter goes on
    from where a child that died had told it to be; gauges of that child are gone.
    """

    def __init__(self, service: str):
        self.registry = CollectorRegistry()
        show_build(service, self.registry, distribution="pando-worker")
        self._wire = Wire()
        self._children = ChildrenMetrics(is_own_child)
        self.registry.register(self._children)
        self._server: WSGIServer | None = None

    def serve(self, port: int, host: str) -> None:
        """In the parent, until it ends.

        Raises:
            OSError: the port is taken.
        """
        self._server, _ = start_http_server(port, addr=host, registry=self.registry)
        threading.Thread(target=self._listen, name="metrics", daemon=True).start()

    def join(self, registry: CollectorRegistry) -> None:
        """In a child, as soon as it is there: send what its registry has."""
        # Else a child that outlives its parent would keep the port from the next one.
        if self._server is not None:
            self._server.socket.close()
        self._wire.only_send()
        MetricsSender(self._wire, registry).start()

    def close(self) -> None:
        """In the parent: serve no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._wire.close()

    def _listen(self) -> None:
        with suppress(EOFError):
            while True:
                self._children.hear(*self._wire.receive())
