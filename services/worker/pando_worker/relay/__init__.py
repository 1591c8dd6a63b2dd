"""Metrics of a Celery worker's child, which does the work, served by its parent."""

from pando_worker.relay.relay import MetricsRelay

__all__ = ["MetricsRelay"]
