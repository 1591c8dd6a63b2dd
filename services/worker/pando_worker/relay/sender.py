"""A child tells its parent once a second all that it has counted."""

from __future__ import annotations

import logging
import threading

from prometheus_client import CollectorRegistry, generate_latest

from pando_worker.relay.wire import Wire

log = logging.getLogger(__name__)

_SEND_SECONDS = 1.0


class MetricsSender:
    """Sends a registry's metrics, from a thread of its own."""

    def __init__(self, wire: Wire, registry: CollectorRegistry):
        self._wire, self._registry = wire, registry
        self._failing = False

    def start(self) -> None:
        """Until this process ends."""
        self.send()
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def send(self) -> None:
        """Once. What cannot be sent is left out, and said to be when that begins: the work needs
        none of it."""
        try:
            self._wire.send(generate_latest(self._registry).decode())
            self._failing = False
        except Exception as error:  # of any collector, too
            if not self._failing:
                log.warning("metrics stay as they were told last: %s", error)
            self._failing = True

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_SEND_SECONDS):
            self.send()
