"""`pando demo`: everything, from nothing, in a few minutes."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from pando_cli import source_checkout
from pando_cli.api import Api
from pando_cli.commands.stack import READY_SECONDS, ModelOption, default_models
from pando_cli.connection import JsonOption, Session
from pando_cli.demo import recipe as recipes
from pando_cli.demo.recipe import Recipe
from pando_cli.demo.result import DemoResult
from pando_cli.demo.run import run
from pando_cli.errors import CliError, UsageError
from pando_cli.home import Home
from pando_cli.output import Output
from pando_cli.stack.bring_up import RunningStack, run_stack
from pando_cli.stack.plan import StackPlan, parse_models
from pando_cli.stack.ports import free_port
from pando_cli.stack.stop_signals import StopSignals
from pando_shared.devices import devices


def demo(
    home: Annotated[
        Path | None,
        typer.Option(help="Where to work.  Default: a new temporary folder.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The API's port; 0: any.")] = 0,
    model: ModelOption = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with demo.json and its data files.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train two LoRA, a PaCA and a MEFT adapter together, and hear what each has learnt.

    Starts a whole stack, submits four jobs, shows them train, downloads the adapters to
    HOME/adapters, asks the base and every adapter the same question, and stops the stack. Fails
    (1) if a job failed. With several --model the first one is trained on.

    Examples:

        pando demo
        pando demo --home ./demo --model llama=meta-llama/Llama-3.1-8B
    """
    output = Output(as_json)
    models = parse_models(model) if model else default_models()
    recipe = recipes.load(_data_folder(data))
    place = Home.locate(home or Path(tempfile.mkdtemp(prefix="pando-demo-")))
    plan = StackPlan(
        home=place,
        host="127.0.0.1",
        port=port or free_port("127.0.0.1"),
        models=models,
        devices=devices("auto"),
    )
    output.note(f"Starting Redis, API, scheduler and worker in {place.root}")
    result = _with_stack(plan, recipe, output)
    output.result(result.as_json(), result.as_text())
    if result.failed:
        names = ", ".join(f"{row.name} {row.status}" for row in result.failed)
        reasons = "; ".join(row.error for row in result.failed if row.error)
        raise CliError(f"{names}: {reasons}", code="job_failed", hint=f"Logs: {place.logs}")


def _with_stack(plan: StackPlan, recipe: Recipe, output: Output) -> DemoResult:
    """Supervise the stack in this thread while another runs the demo against it.

    Raises:
        KeyboardInterrupt: a stop signal came first.
    """
    signals = StopSignals()
    signals.install()
    outcome: list[DemoResult | Exception] = []

    def work(stack: RunningStack) -> None:
        session = Session(Api(stack.config), output)
        try:
            outcome.append(run(session, recipe, next(iter(plan.models)), plan.home))
        except Exception as error:
            outcome.append(error)
        finally:
            signals.request()

    def when_ready(stack: RunningStack) -> None:
        # A daemon: after Ctrl-C nobody waits for it.
        threading.Thread(target=work, args=(stack,), name="demo", daemon=True).start()

    run_stack(plan, signals, READY_SECONDS, when_ready, output.note)
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _data_folder(given: Path | None) -> Path:
    folder = given or source_checkout.path("examples", "demo")
    if folder is None:
        raise UsageError(
            "the demo's data is only in a source checkout",
            param="data",
            hint="Clone the repository, or name a folder with --data.",
        )
    return folder
