"""The job dashboard: how one or several jobs learn. Their series last while they train."""

from __future__ import annotations

from panels import Dashboard, Panel, Row, Variable

_JOB = '{job_id=~"$job_id"}'

_LEARNING = Row(
    "Learning",
    [
        Panel(
            "Loss", "Mean over target tokens, of training steps and of validations.", "none",
            [(f"pando_job_loss{_JOB}", "{{job_id}} {{split}}")],
            width=16, height=10, logarithmic=True, least=None, decimals=3,
        ),
        Panel(
            "Learning rate", "Of the newest step.", "sci",
            [(f"pando_job_learning_rate{_JOB}", "{{job_id}}")], height=10,
        ),
        Panel(
            "Progress", "Steps done, of all.", "percentunit",
            [(f"pando_job_step{_JOB} / (pando_job_total_steps{_JOB} > 0)", "{{job_id}}")],
            most=1,
        ),
        Panel(
            "Tokens a second", "In finished steps, over 15 s.", "short",
            [(f"pando_job_tokens_per_second{_JOB}", "{{job_id}}")],
        ),
        Panel(
            "Tokens trained", "In finished steps.", "short",
            [(f"pando_job_trained_tokens{_JOB}", "{{job_id}}")],
        ),
    ],
)  # fmt: skip

_PLACE = Row(
    "Where it trains",
    [
        Panel(
            "Its memory", "Of its adapter, gradients and moments on the device.", "bytes",
            [(f"pando_job_adapter_bytes{_JOB}", "{{job_id}}")],
        ),
        Panel(
            "Its worker's adapters", "With how many others it shares the base.", "short",
            [(
                "pando_active_adapters * on (worker) group_right() pando_job_info" + _JOB,
                "{{job_id}} at {{worker}}",
            )],
        ),
        Panel(
            "Its worker's rounds", "Share of time that the worker spends in rounds.",
            "percentunit",
            [(
                "clamp_max(rate(pando_round_busy_seconds_total[$__rate_interval]), 1)"
                " * on (worker) group_right() pando_job_info" + _JOB,
                "{{job_id}} at {{worker}}",
            )],
            most=1,
        ),
    ],
)  # fmt: skip

JOB = Dashboard(
    "pando-job",
    "Pando: jobs",
    "How jobs learn, while they are on a worker; `pando show` has those that have ended.",
    [_LEARNING, _PLACE],
    [
        Variable("tenant", "Tenant", "label_values(pando_job_info, tenant)"),
        Variable("job_id", "Job", 'label_values(pando_job_info{tenant=~"$tenant"}, job_id)'),
    ],
)
