"""`pando doctor`: what is wrong with a machine or a stack, and how to mend it."""

from __future__ import annotations

import typer

from pando_cli.connection import Connection
from pando_cli.doctor.examination import examine
from pando_cli.doctor.finding import Status
from pando_cli.doctor.report import document, listing, overall
from pando_cli.doctor.subject import find_subject
from pando_cli.exit_codes import ExitCode
from pando_cli.home import Home
from pando_cli.output import Output


def doctor(connection: Connection) -> None:
    """Check this machine and the stack, and say how to mend what is wrong.

    Looks at the stack of $PANDO_REDIS_URL if that is set, else at the one that runs in the home,
    else at what `pando up` would find; --url alone looks at that API. Takes a few seconds, changes
    nothing, and prints no secrets. Exit code 1 if anything fails; warnings are none.

    With --json: {"status", "findings": [{"name", "status", "found", "mend"}]}; a status is ok,
    warn, fail or skipped.

    Examples:

        pando doctor
        pando doctor --json | jq -r '.findings[] | select(.status == "fail") | .name'
    """
    subject = find_subject(Home.locate(connection.home), connection.url, connection.api_key)
    findings = examine(subject)
    Output(connection.as_json).result(document(findings), listing(findings))
    if overall(findings) is Status.FAIL:
        raise typer.Exit(ExitCode.FAILED)
