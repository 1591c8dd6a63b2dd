"""The options every command that talks to the service has, and the session they open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pando_cli import client_config
from pando_cli.api import Api
from pando_cli.home import Home
from pando_cli.output import Output

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PANDO_HOME", help="The stack's folder.  Default: ~/.pando.", show_default=False
    ),
]


@dataclass(frozen=True, slots=True)
class Session:
    api: Api
    output: Output


@dataclass(frozen=True)
class Connection:
    """Where the service is, who asks, and how to answer."""

    url: Annotated[
        str | None,
        typer.Option(envvar="PANDO_URL", help="The service.  Default: as `pando up` left it."),
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PANDO_API_KEY",
            help="Your key.  Default: as `pando up` left it.",
            show_envvar=True,
        ),
    ] = None
    home: HomeOption = None
    as_json: JsonOption = False

    def open(self) -> Session:
        config = client_config.resolve(Home.locate(self.home), self.url, self.api_key)
        return Session(Api(config), Output(self.as_json))
