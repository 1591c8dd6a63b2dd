"""`pando sweep` and `pando sweeps`: many trials of one job, and which is the best."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from pando_cli.commands.jobs import LimitOption
from pando_cli.commands.submit import FileArgument
from pando_cli.connection import Connection, Session
from pando_cli.data_file import file_id
from pando_cli.errors import CliError, UsageError
from pando_cli.grid_option import grid
from pando_cli.job_options import JobOptions
from pando_cli.rendering import JsonObject
from pando_cli.snapshots import sweep_snapshots
from pando_cli.sweep_table import best_trial, sweeps_table, trials_table, values_text

_SWEEP = "Sweep"
WaitOption = Annotated[bool, typer.Option("--wait", help="Watch the trials until all have ended.")]


def sweep(
    file: FileArgument,
    job: JobOptions,
    connection: Connection,
    grid_values: Annotated[
        list[str],
        typer.Option(
            "--grid",
            metavar="KNOB=VALUE,VALUE",
            help="Values to try of a knob, repeatable: learning_rate, n_epochs, ..., adapter.rank.",
            rich_help_panel=_SWEEP,
            show_default=False,
        ),
    ],
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Try so many points of the grid, drawn by --seed.  Default: all.",
            rich_help_panel=_SWEEP,
            show_default=False,
        ),
    ] = None,
    eta: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="At each rung the best 1/eta go on.  Default: 3.",
            rich_help_panel=_SWEEP,
            show_default=False,
        ),
    ] = None,
    rungs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How often losers are stopped.  Default: 2.",
            rich_help_panel=_SWEEP,
            show_default=False,
        ),
    ] = None,
    no_halving: Annotated[
        bool,
        typer.Option("--no-halving", help="Train every trial to its end.", rich_help_panel=_SWEEP),
    ] = False,
    wait: WaitOption = False,
) -> None:
    """Try several hyperparameters at once and keep the best.

    Starts a job for each point of the grid; they train together, and are told apart by validation
    loss. At each rung of successive halving (at 1/9 and 1/3 of training, if not told otherwise)
    the best third goes on and the others stop. Prints the trials; with --wait follows them, then
    prints the best adapter, and fails (1) if there is none. Other options are those of `submit`,
    and hold for every trial.

    With --json: {"id", "status", "best_job_id", "trials": [{"job_id", "values", "rank", ...}]},
    with --wait once all trials have ended.

    Examples:

        pando sweep train.jsonl --validation valid.jsonl --model tiny --wait \\
            --grid learning_rate=1e-4,3e-4,1e-3 --grid adapter.rank=8,16,32
        pando sweep train.jsonl --validation valid.jsonl --model tiny \\
            --grid learning_rate=1e-4,2e-4,4e-4,8e-4 --grid adapter.rank=4,8,16 \\
            --samples 8 --eta 2 --rungs 3
        pando sweep train.jsonl --validation valid.jsonl --model tiny \\
            --no-halving --grid 'adapter={"type":"lora"},{"type":"paca"}'
    """
    wanted = _wanted(grid_values, samples, eta, rungs, no_halving)
    session = connection.open()
    training = file_id(session.api, file)
    validation = file_id(session.api, job.validation) if job.validation else None
    created = session.api.create_sweep(job.body(training, validation) | wanted)
    if wait:
        _follow(session, created)
    else:
        _print(session, created)
        session.output.note(f"Follow it with: pando sweeps {created['id']} --wait")


def sweeps(
    connection: Connection,
    sweep_id: Annotated[
        str | None, typer.Argument(metavar="[SWEEP]", help="Show this one, trial by trial.")
    ] = None,
    wait: WaitOption = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the trials that have not ended.")
    ] = False,
    limit: LimitOption = 20,
) -> None:
    """List your sweeps, or show, follow or cancel one.

    Shows the trials, the best first: what is different about each, how far it is, its validation
    loss at the rungs and at last. With --wait fails (1) if no trial succeeded.

    With --json: {"object": "list", "data": [sweep, ...]}, or the sweep.

    Examples:

        pando sweeps
        pando sweeps sweep-3f9c --wait
        pando sample $(pando sweeps sweep-3f9c --json | jq -r .best_job_id) "Hello"
    """
    if sweep_id is None and (wait or cancel):
        raise UsageError("--wait and --cancel need a SWEEP", hint="`pando sweeps` lists them.")
    session = connection.open()
    if sweep_id is None:
        found = session.api.sweeps(limit)
        text = sweeps_table(found) if found else "No sweeps yet. `pando sweep --help` says how."
        session.output.result({"object": "list", "data": found}, text)
        return
    shown = session.api.cancel_sweep(sweep_id) if cancel else session.api.sweep(sweep_id)
    if wait and not cancel:
        _follow(session, shown)
    else:
        _print(session, shown)


def _wanted(
    grid_values: list[str],
    samples: int | None,
    eta: int | None,
    rungs: int | None,
    no_halving: bool,
) -> dict[str, Any]:
    """What the body of a sweep has beside that of a job."""
    rule = {name: value for name, value in (("eta", eta), ("rungs", rungs)) if value is not None}
    if rule and no_halving:
        raise UsageError("--no-halving leaves nothing for --eta or --rungs", param="no_halving")
    wanted: dict[str, Any] = {"grid": grid(grid_values)}
    if samples is not None:
        wanted["samples"] = samples
    if rule or no_halving:
        wanted["halving"] = rule or None
    return wanted


def _print(session: Session, found: JsonObject) -> None:
    session.output.note(f"{found['id']} {found['status']}")
    session.output.result(found, trials_table(found))


def _follow(session: Session, found: JsonObject) -> None:
    """Show the trials until all have ended, then the best.

    Raises:
        CliError: no trial succeeded.
    """
    session.output.note(found["id"])
    *_, last = _shown(session, found["id"])
    if last["status"] != "succeeded":
        raise CliError(
            f"sweep {last['id']} {last['status']}: no trial has an adapter",
            code=f"sweep_{last['status']}",
            hint=f"`pando sweeps {last['id']}` lists the trials; `pando logs JOB` says why.",
        )
    session.output.result(last, _outcome(last))


def _shown(session: Session, sweep_id: str) -> Iterator[JsonObject]:
    """The sweep whenever it changes; people see the table meanwhile, and a log what changed."""
    output = session.output
    if output.as_json:
        yield from sweep_snapshots(session.api, sweep_id)
    elif output.notes.is_terminal:
        with Live(console=output.notes, refresh_per_second=4, transient=True) as live:
            for found in sweep_snapshots(session.api, sweep_id):
                live.update(trials_table(found))
                yield found
    else:
        told: dict[str, str] = {}
        for found in sweep_snapshots(session.api, sweep_id):
            for trial in found["trials"]:
                if told.get(trial["job_id"]) != trial["status"]:
                    output.note(f"{values_text(trial['values'])}: {trial['status']}")
                    told[trial["job_id"]] = trial["status"]
            yield found


def _outcome(found: JsonObject) -> RenderableType:
    table, best = trials_table(found), best_trial(found)
    if best is None:
        return Group(table, Text("Without --validation the trials have no ranks."))
    return Group(table, Text(f"best: {best['fine_tuned_model']}  {values_text(best['values'])}"))
