"""Metrics of the child that works now, continued from those of the children before it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import psutil
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from pando_worker.relay.totals import Totals


class ChildrenMetrics(Collector):
    """Heard of by one thread, read by those that Prometheus asks. There is one child at a time."""

    def __init__(self, lives: Callable[[int], bool]):
        self._lives = lives
        self._lock = threading.Lock()
        self._totals = Totals()
        self._child: int | None = None
        self._told: list[Metric] = []
        self._deaths = 0

    def hear(self, pid: int, text: str) -> None:
        """A child tells all its metrics, in Prometheus's text format."""
        told = list(text_string_to_metric_families(text))
        with self._lock:
            if pid != self._child:
                self._bury()
            self._child, self._told = pid, told

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if self._child is not None and not self._lives(self._child):
                self._bury()
            deaths = CounterMetricFamily(
                "pando_child_deaths",
                "Processes doing this service's work that died; another took the place of each",
                value=self._deaths,
            )
            families = [deaths, *self._totals.with_those_of(self._told)]
        yield from families

    def _bury(self) -> None:
        """Keep what the child counted, and forget what it measured."""
        if self._child is not None:
            self._totals.add(self._told)
            self._deaths += 1
        self._child, self._told = None, []


def is_own_child(pid: int) -> bool:
    """Whether a process lives and is a child of this one."""
    try:
        process = psutil.Process(pid)
        return process.ppid() == os.getpid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
