"""The `pando` command, put together from its commands."""

from __future__ import annotations

from collections.abc import Callable

import typer

from pando_cli.commands import (
    adapters,
    demo,
    doctor,
    drain,
    files,
    fleet,
    forget,
    jobs,
    keys,
    logs,
    policy,
    recover,
    simulate,
    stack,
    submit,
    sweep,
    usage,
    watch,
    webhooks,
)
from pando_cli.exit_codes import EXPLANATION
from pando_cli.help_text import help_text
from pando_cli.option_groups import expanded

_RUN = "The service on this machine"
_JOBS = "Jobs"
_RESULTS = "Adapters and files"
_OPERATE = "For the operator"

_HELP = f"""Train many adapters on one frozen base model at once.

Commands find the service by --url and --api-key, else PANDO_URL and PANDO_API_KEY, else by what
`pando up` left in its home (--home, else PANDO_HOME, else ~/.pando). All take --json: one JSON
document on stdout (one a line where there are many), an error as {{"error": {{...}}}}.

{EXPLANATION}

Examples:

    pando demo                                     # four jobs, start to end
    pando up --detach                              # a service to keep
    pando submit data.jsonl --model tiny --wait    # train an adapter
    pando sample ftjob-3f9c "Hello"                # talk to it
"""


def build() -> typer.Typer:
    app = typer.Typer(
        name="pando",
        help=help_text(_HELP),
        rich_markup_mode="rich",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for panel, commands in (
        (
            _RUN,
            (
                ("up", stack.up),
                ("down", stack.down),
                ("doctor", doctor.doctor),
                ("demo", demo.demo),
            ),
        ),
        (
            _JOBS,
            (
                ("submit", submit.submit),
                ("estimate", submit.estimate),
                ("sweep", sweep.sweep),
                ("sweeps", sweep.sweeps),
                ("list", jobs.list_jobs),
                ("show", jobs.show),
                ("watch", watch.watch),
                ("logs", logs.logs),
                ("cancel", jobs.cancel),
                ("pause", jobs.pause),
                ("resume", jobs.resume),
            ),
        ),
        (
            _RESULTS,
            (
                ("models", adapters.models),
                ("download", adapters.download),
                ("sample", adapters.sample),
                ("files", files.files),
            ),
        ),
        (_OPERATE, (("workers", fleet.workers), ("queue", fleet.queue), ("usage", usage.usage))),
    ):
        for name, command in commands:
            _add(app, name, command, panel)
    _add(app, "drain", drain.drain, _OPERATE)
    _add(app, "forget", forget.forget, _OPERATE)
    app.add_typer(_webhooks(), name="webhooks", rich_help_panel=_JOBS)
    app.add_typer(_keys(), name="keys", rich_help_panel=_OPERATE)
    app.add_typer(_policy(), name="policy", rich_help_panel=_OPERATE)
    _add(app, "recover", recover.recover, _OPERATE)
    _add_whole(app, "simulate", simulate.simulate, _OPERATE)
    return app


def _webhooks() -> typer.Typer:
    group = typer.Typer(
        help="Have your server told when a job of yours ends.", no_args_is_help=True
    )
    for name, command in (
        ("create", webhooks.create),
        ("list", webhooks.list_webhooks),
        ("delete", webhooks.delete),
        ("rotate", webhooks.rotate),
        ("test", webhooks.send_sample),
    ):
        _add(group, name, command, None)
    return group


def _keys() -> typer.Typer:
    group = typer.Typer(
        help="Make, list, rotate and revoke API keys; works on Redis and storage directly.",
        no_args_is_help=True,
    )
    for name, command in (
        ("create", keys.create),
        ("list", keys.list_keys),
        ("rotate", keys.rotate),
        ("revoke", keys.revoke),
    ):
        _add(group, name, command, None)
    return group


def _policy() -> typer.Typer:
    group = typer.Typer(
        help="Check and show the rules by which jobs share the workers.", no_args_is_help=True
    )
    for name, command in (("check", policy.check), ("show", policy.show)):
        _add(group, name, command, None)
    return group


def _add(app: typer.Typer, name: str, command: Callable[..., None], panel: str | None) -> None:
    text = help_text(command.__doc__)
    app.command(name, help=text, rich_help_panel=panel)(expanded(command))


def _add_whole(
    app: typer.Typer, name: str, command: Callable[[typer.Context], None], panel: str
) -> None:
    """A command that gets its arguments as they are, --help too."""
    app.command(
        name,
        help=help_text(command.__doc__),
        rich_help_panel=panel,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )(command)
