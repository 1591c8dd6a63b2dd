"""One job's numbers for Prometheus: there while the job is on this worker, gone when it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pando_shared.jobs import JobSpec, Progress

#: Name, help and labels beside the job's id of each of a job's series.
_SERIES = {
    "loss": ("Mean over target tokens, of the newest step or validation", "split"),
    "learning_rate": ("Of the newest step", None),
    "tokens_per_second": ("Tokens of finished steps, over the last 15 s", None),
    "step": ("Optimizer steps finished", None),
    "total_steps": ("Optimizer steps in all", None),
    "trained_tokens": ("Tokens of finished steps", None),
    "adapter_bytes": ("Device memory of the adapter, its gradients and its moments", None),
}
_OF_PROGRESS = ("learning_rate", "tokens_per_second", "step", "total_steps", "trained_tokens")


@dataclass(slots=True)
class _Shown:
    spec: JobSpec
    adapter_bytes: int
    progress: Progress


class JobGauges(Collector):
    """Filled in by the thread that trains, read by the one that Prometheus asks."""

    def __init__(self, registry: CollectorRegistry):
        self._jobs: dict[str, _Shown] = {}
        registry.register(self)

    def enter(self, job_id: str, spec: JobSpec, progress: Progress, adapter_bytes: int) -> None:
        """A job has come, as far as it had got elsewhere."""
        self._jobs[job_id] = _Shown(spec, adapter_bytes, progress)

    def update(self, job_id: str, progress: Progress) -> None:
        """A job that is here has come further."""
        self._jobs[job_id].progress = progress

    def drop(self, job_id: str) -> None:
        """A job has left, if it was here."""
        self._jobs.pop(job_id, None)

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily(
            "pando_job_info",
            "A job that is on this worker",
            labels=["job_id", "tenant", "base_model", "method", "priority"],
        )
        families = {
            name: GaugeMetricFamily(
                f"pando_job_{name}", text, labels=["job_id", *([label] if label else [])]
            )
            for name, (text, label) in _SERIES.items()
        }
        for job_id, shown in list(self._jobs.items()):
            spec, progress = shown.spec, shown.progress
            facts = [spec.tenant, spec.model, spec.adapter.type, spec.priority.value]
            info.add_metric([job_id, *facts], 1)
            for split, loss in (("train", progress.train_loss), ("valid", progress.valid_loss)):
                if loss is not None:
                    families["loss"].add_metric([job_id, split], loss)
            families["adapter_bytes"].add_metric([job_id], shown.adapter_bytes)
            for name in _OF_PROGRESS:
                families[name].add_metric([job_id], getattr(progress, name))
        yield info
        yield from families.values()
