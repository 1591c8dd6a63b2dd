"""`pando up` and `pando down`: the whole service on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from pando_cli import source_checkout
from pando_cli.connection import HomeOption, JsonOption
from pando_cli.errors import UsageError
from pando_cli.home import Home
from pando_cli.output import Output
from pando_cli.policy_source import load_policy, policy_of
from pando_cli.rendering import fields_table
from pando_cli.stack.bring_up import RunningStack, run_stack
from pando_cli.stack.detached import start_detached
from pando_cli.stack.plan import StackPlan, parse_models
from pando_cli.stack.ports import free_port
from pando_cli.stack.shut_down import shut_down
from pando_cli.stack.stop_signals import StopSignals
from pando_shared.base_format import Dtype
from pando_shared.devices import devices

READY_SECONDS = 120.0

ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME=PATH",
        help="A base model: a folder or a hub id; repeatable.  Default: the tiny one.",
        show_default=False,
    ),
]

PolicyOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PANDO_POLICY_FILE",
        metavar="FILE",
        help="How jobs share the workers: quotas, weights, classes.  "
        "Default: policy.toml in the home, if there is one.",
        show_default=False,
    ),
]


def up(
    home: HomeOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The API's port; 0: any.")] = 8000,
    model: ModelOption = None,
    device: Annotated[
        Literal["auto", "cpu"], typer.Option(help="auto: a worker on every GPU, else the CPU.")
    ] = "auto",
    dtype: Annotated[
        Dtype | None,
        typer.Option(
            help="How the base is held; nf4 and int8 fit a larger one.  "
            "Default: bfloat16 on a GPU, float32 on the CPU.",
            show_default=False,
        ),
    ] = None,
    policy: PolicyOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it is ready.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds it may take to get ready.")
    ] = READY_SECONDS,
    as_json: JsonOption = False,
) -> None:
    """Start Redis, the API, the scheduler and a worker for every GPU (or one on the CPU).

    Waits until all of it is ready, then prints where it is and the API key. Ctrl-C (or, detached,
    `pando down`) stops it; jobs, files and adapters stay in the home folder, and the next `up`
    goes on with them. Later commands on this machine find URL and key by themselves.

    With --json: {"url", "api_key", "home", "pids", "docs", "logs", "metrics"}, once, when ready.
    Exit code 5 if a stack is already up in this home, the port is taken, or it does not get ready.

    Examples:

        pando up
        pando up --model llama=meta-llama/Llama-3.1-8B --port 9000
        pando up --model llama=meta-llama/Llama-3.1-70B --dtype nf4
        pando up --policy policy.toml
        KEY=$(pando up --detach --json | jq -r .api_key)
    """
    output = Output(as_json)
    place = Home.locate(home)
    rules = policy_of(place, policy)
    if rules is not None:
        load_policy(rules)
    if detach:
        options = _options(host, port, model, device, dtype, timeout)
        options += [] if rules is None else ["--policy", str(rules)]
        ready = start_detached(place, options)
        output.result(ready, _card(ready, ["`pando down` stops it."]))
        return
    plan = StackPlan(
        home=place,
        host=host,
        port=port or free_port(host),
        models=parse_models(model) if model else default_models(),
        devices=devices(device),
        dtype=dtype,
        policy=rules,
    )

    def report(stack: RunningStack) -> None:
        ready = describe(stack)
        output.result(ready, _card(ready, ["Ctrl-C stops it and keeps the data."]))

    signals = StopSignals()
    signals.install()
    run_stack(plan, signals, timeout, report, output.note)


def down(
    home: HomeOption = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds before it is killed.")] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Stop the stack of this home: workers checkpoint first, Redis goes last, all data stays.

    Succeeds also if nothing was running. With --json: {"home", "stopped": true|false}.

    Example:

        pando down --home /data/pando
    """
    place = Home.locate(home)
    stopped = shut_down(place, timeout)
    text = f"Stopped the stack in {place.root}." if stopped else f"Nothing runs in {place.root}."
    Output(as_json).result({"home": str(place.root), "stopped": stopped}, text)


def default_models() -> dict[str, str]:
    """The tiny base that ships with the repository.

    Raises:
        UsageError: this is not a source checkout.
    """
    tiny = source_checkout.path("models", "tiny-base")
    if tiny is None:
        raise UsageError(
            "no base model given, and the tiny one is only in a source checkout",
            param="model",
            hint="Give one: --model NAME=FOLDER, or --model NAME=ORG/MODEL from the hub.",
        )
    return {"tiny": str(tiny)}


def describe(stack: RunningStack) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "url": stack.config.url,
        "api_key": stack.config.api_key,
        "home": str(stack.home.root),
        "pids": stack.pids,
        "docs": f"{stack.config.url}/docs",
        "logs": str(stack.home.logs),
        "metrics": stack.metrics,
    }


def _options(
    host: str,
    port: int,
    models: list[str] | None,
    device: str,
    dtype: Dtype | None,
    timeout: float,
) -> list[str]:
    options = ["--host", host, "--port", str(port), "--device", device, "--timeout", str(timeout)]
    options += [] if dtype is None else ["--dtype", dtype]
    return options + [word for model in models or () for word in ("--model", model)]


def _card(ready: dict[str, Any], notes: list[str]) -> Table:
    return fields_table(
        [
            ("Pando is up", ready["url"]),
            ("API key", ready["api_key"]),
            ("docs", ready["docs"]),
            ("home", ready["home"]),
            ("logs", f"{Path(ready['logs']) / '*.log'}"),
            ("", " ".join(notes)),
        ]
    )
