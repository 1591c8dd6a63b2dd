"""What a training process tells Prometheus. It serves its own port: it is the one that trains."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram


class WorkerMetrics:
    """Counters and gauges of one worker."""

    def __init__(self, registry: CollectorRegistry = REGISTRY):
        self.trained_tokens = Counter(
            "pando_trained_tokens",
            "Tokens of finished optimizer steps",
            ["base_model", "method"],
            registry=registry,
        )
        self.step_seconds = Histogram(
            "pando_step_duration_seconds",
            "Time of one fused microbatch",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self.checkpoint_seconds = Histogram(
            "pando_checkpoint_duration_seconds",
            "Time to write a checkpoint, while training goes on",
            registry=registry,
        )
        self.checkpoint_stall = Histogram(
            "pando_checkpoint_stall_seconds",
            "Time that training stands still for a checkpoint's snapshot",
            buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1),
            registry=registry,
        )
        self.active_adapters = Gauge(
            "pando_active_adapters", "Adapters in memory", registry=registry
        )
        self.round_seconds = Counter(
            "pando_round_busy_seconds", "Time spent in rounds", registry=registry
        )
        self.round_gap = Histogram(
            "pando_round_gap_seconds",
            "Time from one round's last step to the next one's first, with adapters in memory",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=registry,
        )
        self.memory = Gauge(
            "pando_worker_memory_bytes", "Bytes in use", ["kind"], registry=registry
        )
        self.prediction_error = Gauge(
            "pando_memory_prediction_error_ratio",
            "Measured over predicted peak of the last round, less one",
            registry=registry,
        )
        self.out_of_memory = Counter("pando_oom", "Out of memory, survived", registry=registry)
        self.finished = Counter(
            "pando_jobs_finished", "Jobs that ended here", ["status", "reason"], registry=registry
        )
