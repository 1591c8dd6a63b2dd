"""Running the demo against a stack that is up."""

from __future__ import annotations

import time

from pando_cli.adapter_archive import unpack
from pando_cli.api import JsonObject
from pando_cli.commands.adapters import ask
from pando_cli.commands.watch import wait_for
from pando_cli.connection import Session
from pando_cli.demo.recipe import DemoJob, Recipe, data_file
from pando_cli.demo.result import BASE, Answer, DemoResult, DemoRow
from pando_cli.home import Home

MAX_ANSWER_TOKENS = 48


def run(session: Session, recipe: Recipe, base_model: str, home: Home) -> DemoResult:
    """Submit all jobs at once, follow them to their end, fetch the adapters, ask every model."""
    began = time.monotonic()
    job_ids = [_submit(session, recipe, job, base_model) for job in recipe.jobs]
    ended = wait_for(session, job_ids)
    rows = tuple(
        DemoRow.of(job.name, found, _download(session, found, job, home))
        for job, found in zip(recipe.jobs, ended, strict=True)
    )
    models = [(BASE, base_model), *((row.name, row.model) for row in rows if row.model)]
    answers = tuple(
        Answer(prompt, name, model, _ask(session, model, prompt))
        for prompt in recipe.prompts
        for name, model in models
    )
    return DemoResult(str(home.root), base_model, time.monotonic() - began, rows, answers)


def _submit(session: Session, recipe: Recipe, job: DemoJob, base_model: str) -> str:
    uploaded = session.api.upload(data_file(recipe, job))
    created = session.api.create_job(
        {
            "model": base_model,
            "training_file": uploaded["id"],
            "suffix": job.name,
            "adapter": dict(job.adapter),
            **job.hyperparameters,
        }
    )
    return str(created["id"])


def _download(session: Session, found: JsonObject, job: DemoJob, home: Home) -> str | None:
    """The adapter's folder; None for a job that has none."""
    model = found.get("fine_tuned_model")
    if found["status"] != "succeeded" or not model:
        return None
    folder = home.adapters / job.name
    unpack(session.api.adapter(model), folder)
    return str(folder)


def _ask(session: Session, model: str, prompt: str) -> str:
    options = {"max_tokens": MAX_ANSWER_TOKENS, "temperature": 0.0}
    return str(ask(session.api, model, prompt, options, raw=False)["text"])
