"""The fleet dashboard: is all well, who waits, how fast and how full are the workers."""

from __future__ import annotations

from panels import Dashboard, Panel, Row, Variable

_AT = '{worker=~"$worker"}'


def _quantile(q: float, histogram: str, by: str = "", selector: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    rate = f"rate({histogram}_bucket{selector}[$__rate_interval])"
    return f"histogram_quantile({q}, sum by ({labels}) ({rate}))"


def _over_range(q: float, histogram: str) -> str:
    return f"histogram_quantile({q}, sum by (le) (increase({histogram}_bucket[$__range])))"


_OVERVIEW = Row(
    "At a glance",
    [
        Panel(
            "Running", "Jobs that have a place on a worker.", "short",
            [('max(pando_jobs{state="running"})', "running")], "stat", 4, 4,
        ),
        Panel(
            "Queued", "Jobs that wait for a place.", "short",
            [('max(pando_jobs{state="queued"})', "queued")], "stat", 4, 4,
            steps=[(20, "orange"), (100, "red")],
        ),
        Panel(
            "Workers alive", "Workers that have reported lately.", "short",
            [("max(pando_workers_alive)", "workers")], "stat", 4, 4,
        ),
        Panel(
            "Tokens a second", "Of all workers together, in finished steps.", "short",
            [("sum(rate(pando_trained_tokens_total[$__rate_interval]))", "tokens/s")],
            "stat", 4, 4, decimals=0,
        ),
        Panel(
            "Queue wait, median", "Of jobs that got a place in the time shown.", "s",
            [(_over_range(0.5, "pando_job_queue_wait_seconds"), "p50")], "stat", 4, 4,
        ),
        Panel(
            "Alerts", "Alerts that fire now.", "short",
            [('count(ALERTS{alertstate="firing", alertname=~"Pando.*"}) or vector(0)', "firing")],
            "stat", 4, 4, steps=[(1, "red")],
        ),
    ],
)  # fmt: skip

_JOBS = Row(
    "Jobs",
    [
        Panel(
            "Jobs by state", "Those that have not ended.", "short",
            [(
                "max by (state) (pando_jobs"
                '{state=~"validating_files|queued|running|paused"})',
                "{{state}}",
            )],
            stacked=True,
        ),
        Panel(
            "Oldest queued", "How long the oldest has waited, by priority.", "s",
            [("max by (priority) (pando_oldest_queued_seconds)", "{{priority}}")],
        ),
        Panel(
            "Queue wait", "From the queue to a place, of jobs that got one.", "s",
            [
                (_over_range(0.5, "pando_job_queue_wait_seconds"), "p50"),
                (_over_range(0.95, "pando_job_queue_wait_seconds"), "p95"),
            ],
        ),
        Panel(
            "Ended, by status", "Jobs that ended in the time shown.", "short",
            [(
                "sum by (status) (increase(pando_job_duration_seconds_count[$__range]))",
                "{{status}}",
            )],
            "bargauge", decimals=0,
        ),
        Panel(
            "Failures by reason", "Error codes of jobs that failed.", "short",
            [(
                'sum by (reason) (increase(pando_jobs_finished_total{status="failed"}[$__range]))'
                " > 0 or vector(0)",
                "{{reason}}",
            )],
            "bargauge", decimals=0, steps=[(1, "red")],
        ),
        Panel(
            "Retries and out of memory",
            "Jobs queued again after a loss, and how often memory ran out and was survived.",
            "short",
            [
                (
                    "sum by (reason) (increase(pando_job_retries_total[$__range])) or vector(0)",
                    "retried: {{reason}}",
                ),
                ("sum(increase(pando_oom_total[$__range]))", "out of memory"),
            ],
            steps=[(1, "orange")],
        ),
        Panel(
            "Placements and preemptions", "Of the scheduler, a minute.", "short",
            [
                (
                    "60 * sum by (outcome) (rate(pando_placements_total[$__rate_interval]))",
                    "{{outcome}}",
                ),
                (
                    "60 * sum by (reason) (rate(pando_preemptions_total[$__rate_interval]))",
                    "preempted: {{reason}}",
                ),
            ],
        ),
        Panel(
            "Time to plan", "To look at the cluster and to decide, p95.", "s",
            [(_quantile(0.95, "pando_round_plan_seconds"), "p95")],
            steps=[(1, "orange")],
        ),
        Panel(
            "Job duration", "From submission to end, p50 and p95.", "s",
            [
                (_over_range(0.5, "pando_job_duration_seconds"), "p50"),
                (_over_range(0.95, "pando_job_duration_seconds"), "p95"),
            ],
        ),
        Panel(
            "Preparing data, p95",
            "To check and tokenise a job's files, and how long a job waits for that.", "s",
            [
                (_over_range(0.95, "pando_prepare_duration_seconds"), "takes"),
                (_over_range(0.95, "pando_prepare_wait_seconds"), "waits"),
            ],
        ),
        Panel(
            "Preparations, by outcome", "In the time shown.", "short",
            [(
                "sum by (outcome) (increase(pando_prepare_duration_seconds_count[$__range]))",
                "{{outcome}}",
            )],
            "bargauge", decimals=0,
        ),
        Panel(
            "Processes that died", "Of those that train and prepare; each was replaced.", "short",
            [("sum by (job) (increase(pando_child_deaths_total[$__range]))", "{{job}}")],
            "bargauge", decimals=0, steps=[(1, "red")],
        ),
    ],
)  # fmt: skip

_WORKERS = Row(
    "Workers",
    [
        Panel(
            "Tokens a second, by worker", "In finished optimizer steps.", "short",
            [(
                "sum by (worker) (rate(pando_trained_tokens_total"
                '{worker=~"$worker", base_model=~"$base_model"}[$__rate_interval]))',
                "{{worker}}",
            )],
        ),
        Panel(
            "Tokens a second, by method", "Of all workers.", "short",
            [(
                "sum by (base_model, method) (rate(pando_trained_tokens_total"
                '{worker=~"$worker", base_model=~"$base_model"}[$__rate_interval]))',
                "{{base_model}} {{method}}",
            )],
            stacked=True,
        ),
        Panel(
            "Adapters in memory", "Jobs that train together on one base.", "short",
            [(f"pando_active_adapters{_AT}", "{{worker}}")],
        ),
        Panel(
            "Memory against what may be used",
            "Peak of the last round by what took it; free is what remains of the budget.",
            "bytes",
            [(f"sum by (kind) (pando_worker_memory_bytes{_AT})", "{{kind}}")],
            stacked=True,
        ),
        Panel(
            "Measured over predicted peak, less one",
            "0: as predicted. Above: more was taken than was set aside.", "percentunit",
            [(f"pando_memory_prediction_error_ratio{_AT}", "{{worker}}")],
            least=None, steps=[(0.2, "red")],
        ),
        Panel(
            "Step time, p95", "Of a fused microbatch.", "s",
            [(
                _quantile(0.95, "pando_step_duration_seconds", "worker", _AT), "{{worker}}",
            )],
        ),
        Panel(
            "Gap between rounds, p95", "A worker with jobs waits so long for its next round.", "s",
            [(
                "histogram_quantile(0.95, sum by (le, worker) "
                f"(increase(pando_round_gap_seconds_bucket{_AT}[$__range])))",
                "{{worker}}",
            )],
            steps=[(1, "orange")],
        ),
        Panel(
            "Heartbeat age", "Since a worker last reported.", "s",
            [(
                "time() - max by (worker) (pando_worker_last_heartbeat_timestamp_seconds)",
                "{{worker}}",
            )],
            steps=[(60, "red")],
        ),
        Panel(
            "Writing checkpoints, p95", "Training goes on meanwhile.", "s",
            [(
                "histogram_quantile(0.95, sum by (le, worker) "
                f"(increase(pando_checkpoint_duration_seconds_bucket{_AT}[$__range])))",
                "{{worker}}",
            )],
        ),
    ],
)  # fmt: skip

_GPUS = Row(
    "GPUs",
    [
        Panel(
            "GPU utilisation", "Share of time in which a kernel ran.", "percentunit",
            [(f"pando_gpu_utilization_ratio{_AT}", "{{gpu}}")], width=6, most=1,
        ),
        Panel(
            "GPU power", "Drawn now.", "watt",
            [(f"pando_gpu_power_watts{_AT}", "{{gpu}}")], width=6,
        ),
        Panel(
            "GPU temperature", "Of the chip.", "celsius",
            [(f"pando_gpu_temperature_celsius{_AT}", "{{gpu}}")], width=6, steps=[(85, "red")],
        ),
        Panel(
            "Model FLOPs utilisation", "Arithmetic of the base over the card's peak.",
            "percentunit",
            [(f"pando_model_flops_utilization_ratio{_AT}", "{{worker}}")], width=6, most=1,
        ),
    ],
)  # fmt: skip

_SERVICES = Row(
    "API, Redis and storage",
    [
        Panel(
            "API latency, p95", "By route; streams last as long as they are watched.", "s",
            [(
                _quantile(0.95, "pando_api_request_duration_seconds", "route"), "{{route}}",
            )],
        ),
        Panel(
            "API requests", "A second, by status.", "reqps",
            [(
                "sum by (status) (rate(pando_api_request_duration_seconds_count"
                "[$__rate_interval]))",
                "{{status}}",
            )],
            stacked=True,
        ),
        Panel(
            "API error rate", "Share of answers with a status of 500 or more.", "percentunit",
            [(
                "(sum(rate(pando_api_request_duration_seconds_count"
                '{status=~"5.."}[$__rate_interval])) or vector(0)) / '
                "sum(rate(pando_api_request_duration_seconds_count[$__rate_interval]))",
                "errors",
            )],
            steps=[(0.05, "red")],
        ),
        Panel(
            "Redis memory", "In use, and the most it may use, if that has a limit.", "bytes",
            [
                ("max(pando_redis_memory_bytes)", "in use"),
                ("max(pando_redis_max_memory_bytes) > 0", "limit"),
            ],
            width=6,
        ),
        Panel(
            "Redis evictions", "Keys thrown away for want of memory: must stay 0.", "short",
            [("sum(increase(pando_redis_evicted_keys_total[$__range]))", "keys")],
            width=6, steps=[(1, "red")],
        ),
        Panel(
            "Messages in queues", "That no worker has taken yet.", "short",
            [("max by (queue) (pando_queue_messages)", "{{queue}}")], width=6,
        ),
        Panel(
            "Storage's disk", "Share that is free.", "percentunit",
            [("min(pando_disk_free_bytes / pando_disk_size_bytes)", "free")], width=6, most=1,
        ),
    ],
)  # fmt: skip

FLEET = Dashboard(
    "pando-fleet",
    "Pando: fleet",
    "All jobs, workers and services of a Pando.",
    [_OVERVIEW, _JOBS, _WORKERS, _GPUS, _SERVICES],
    [
        Variable("worker", "Worker", "label_values(pando_active_adapters, worker)"),
        Variable(
            "base_model", "Base model", "label_values(pando_trained_tokens_total, base_model)"
        ),
    ],
)
