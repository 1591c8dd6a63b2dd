"""What a training process tells Prometheus, by way of its parent (`relay`)."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from pando_worker.job_gauges import JobGauges


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
            "pando_worker_memory_bytes",
            "The device's memory in the last round: base, adapter, activation, and free of what "
            "this worker may use",
            ["kind"],
            registry=registry,
        )
        self.prediction_error = Gauge(
            "pando_memory_prediction_error_ratio",
            "Measured over predicted peak of the last round, less one",
            registry=registry,
        )
        self.out_of_memory = Counter("pando_oom", "Out of memory, survived", registry=registry)
        self.meft_rows = Counter(
            "pando_meft_rows_transferred",
            "Rows of MEFT jobs moved to the GPU (in) and their gradients back (out)",
            ["direction"],
            registry=registry,
        )
        for direction in ("in", "out"):
            self.meft_rows.labels(direction)
        self.meft_seconds = Counter(
            "pando_meft_transfer_seconds",
            "Time of copies of rows beside what the GPU computes",
            registry=registry,
        )
        self.meft_hits = Counter(
            "pando_meft_cache_hits",
            "Rows of MEFT jobs that were wanted on the GPU and already there",
            registry=registry,
        )
        self.meft_hit_ratio = Gauge(
            "pando_meft_cache_hit_ratio",
            "Share of the rows wanted on the GPU that were already there, in the last step",
            registry=registry,
        )
        self.meft_splits = Counter(
            "pando_meft_splits",
            "Passes through a layer's rows beyond the first, as one buffer did not hold them all",
            registry=registry,
        )
        self.flops_utilization = Gauge(
            "pando_model_flops_utilization_ratio",
            "Arithmetic of the base's forward and backward pass, over what the device can do",
            ["device"],  # none until it is set: there are devices of which it is not known
            registry=registry,
        )
        self.last_step = Gauge(
            "pando_worker_last_step_timestamp_seconds",
            "When this worker last finished a microbatch",
            registry=registry,
        )
        self.jobs = JobGauges(registry)

    def begin_base(self, base_model: str) -> None:
        """A base is in memory: its counters are there, at 0 unless they were, before its first
        tokens, which would be no increase else."""
        for method in ("lora", "paca", "meft"):
            self.trained_tokens.labels(base_model, method)

    def show_memory(self, budget: int, base: int, adapters: int, peak: int) -> None:
        """How the device's memory was used in a round, in bytes; `peak` is of it all."""
        parts = {
            "base": base,
            "adapter": adapters,
            "activation": max(0, peak - base - adapters),
            "free": max(0, budget - peak),
        }
        for kind, size in parts.items():
            self.memory.labels(kind).set(size)

    def count_traffic(
        self, rows_in: int, rows_out: int, hits: int, splits: int, seconds: float
    ) -> None:
        """What one MEFT job's step moved."""
        self.meft_rows.labels("in").inc(rows_in)
        self.meft_rows.labels("out").inc(rows_out)
        self.meft_hits.inc(hits)
        self.meft_splits.inc(splits)
        self.meft_seconds.inc(seconds)
        if rows_in + hits:
            self.meft_hit_ratio.set(hits / (rows_in + hits))
