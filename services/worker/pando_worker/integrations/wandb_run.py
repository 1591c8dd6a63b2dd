"""Weights & Biases: one run a job, whose id is the job's; it goes on behind its last step."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from pando_shared.integrations import Wandb
from pando_shared.jobs import Job, JobState
from pando_worker.integrations.job_config import job_config
from pando_worker.metric_rows import MetricRow

#: How long to wait for the server, seconds: no data is prepared meanwhile.
_PATIENCE_SECONDS = 30.0


def write_wandb_run(asked: Wandb, job: Job, rows: Sequence[MetricRow]) -> None:
    """Write the steps that the job's run lacks, making the run if there is none.

    W&B takes a step once: the newest of a job that trains is left for later, as it may be
    validated yet.

    Raises:
        wandb.errors.Error: no key in the environment, or the server refuses or is away.
    """
    import wandb

    whole = rows if job.state.terminal else rows[:-1]
    with tempfile.TemporaryDirectory(prefix="pando-") as folder:
        run = wandb.init(
            project=asked.project,
            entity=asked.entity,
            name=asked.name or job.spec.suffix or job.id,
            tags=asked.tags,
            id=job.id,
            resume="allow",
            config=job_config(job),
            # Kept where the operator wants it, as for runs that are sent from files later.
            dir=os.environ.get("WANDB_DIR", folder),
            settings=wandb.Settings(
                init_timeout=_PATIENCE_SECONDS,
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_save_requirements=False,
            ),
        )
        first = run.step
        for row in whole:
            if row.step >= first:
                run.log(row.numbers(), step=row.step)
        lost = job.state in (JobState.FAILED, JobState.CANCELLED)
        run.finish(exit_code=1 if lost else 0)
