"""`pando models`, `download`, `sample`: what has been trained, and what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from pando_cli.adapter_archive import unpack
from pando_cli.api import Api
from pando_cli.connection import Connection
from pando_cli.errors import CliError
from pando_cli.rendering import age, list_table

ModelArgument = Annotated[
    str, typer.Argument(metavar="ADAPTER", help="ft:BASE:TENANT:SUFFIX:ID, or the job's id.")
]


def models(connection: Connection) -> None:
    """List base models and your adapters. With --json: {"object": "list", "data": [model, ...]}.

    Example:

        pando models --json | jq -r '.data[] | select(.parent) | .id'
    """
    session = connection.open()
    found = session.api.models()
    table = list_table("model", "base", "method", numbers=("age",))
    for model in found:
        table.add_row(
            model["id"],
            model.get("parent") or "",
            model.get("method") or "base",
            age(model["created"]) if model.get("parent") else "",
        )
    session.output.result({"object": "list", "data": found}, table)


def download(
    adapter: ModelArgument,
    connection: Connection,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to make.  Default: ./NAME", show_default=False),
    ] = None,
) -> None:
    """Download an adapter: a folder that `peft`, `transformers` and vLLM load; MEFT has a loader.

    With --json: {"model", "path", "files", "bytes"}.

    Examples:

        pando download ft:tiny:default:pirate:3f9c2a10 -o pirate
        pando download ftjob-3f9c --json | jq -r .path
    """
    session = connection.open()
    model = model_name(session.api, adapter)
    folder = (output or Path(folder_name(model))).expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise CliError(f"{folder} is a file", hint="Name another folder with --output.")
    unpack(session.api.adapter(model), folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    result = {
        "model": model,
        "path": str(folder),
        "files": [str(path.relative_to(folder)) for path in files],
        "bytes": sum(path.stat().st_size for path in files),
    }
    session.output.result(result, str(folder))


def sample(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A base model, an adapter, or a job's id.")
    ],
    prompt: Annotated[str, typer.Argument(help="What to say to it.")],
    connection: Connection,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the answer, at most.")] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: the likeliest answer.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Nucleus sampling.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue PROMPT as text; no chat template.")
    ] = False,
) -> None:
    """Ask a base model or an adapter something.

    With --json: {"model", "prompt", "text", "finish_reason", "usage"}.

    Examples:

        pando sample tiny "Once upon a time" --raw
        pando sample ft:tiny:default:pirate:3f9c2a10 "Where is the cat?"
    """
    session = connection.open()
    name = model_name(session.api, model)
    options = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    answer = ask(session.api, name, prompt, options, raw=raw)
    session.output.result({"model": name, "prompt": prompt, **answer}, Text(answer["text"]))


def ask(api: Api, model: str, prompt: str, options: dict[str, Any], *, raw: bool) -> dict[str, Any]:
    """One answer: {"text", "finish_reason", "usage"}."""
    body = {"model": model, **{key: value for key, value in options.items() if value is not None}}
    if raw:
        reply = api.complete({**body, "prompt": prompt})
        choice = reply["choices"][0]
        text = choice["text"]
    else:
        reply = api.chat({**body, "messages": [{"role": "user", "content": prompt}]})
        choice = reply["choices"][0]
        text = choice["message"]["content"]
    return {"text": text, "finish_reason": choice["finish_reason"], "usage": reply.get("usage")}


def model_name(api: Api, given: str) -> str:
    """A model's name; for a job's id that of its adapter.

    Raises:
        CliError: the job has no adapter (yet).
    """
    if not given.startswith("ftjob-"):
        return given
    job = api.job(given)
    name = job.get("fine_tuned_model")
    if not name:
        raise CliError(
            f"job {given} is {job['status']} and has no adapter",
            code="no_adapter",
            hint=f"`pando watch {given}` waits for it.",
        )
    return str(name)


def folder_name(model: str) -> str:
    """A model's name as a file name: ft:tiny:acme:pirate:3f9c -> ft-tiny-acme-pirate-3f9c."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip(".-") or "adapter"
