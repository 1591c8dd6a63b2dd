"""Entry point: runs a command line and turns what went wrong into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from pando_cli.application import build
from pando_cli.errors import CliError
from pando_cli.exit_codes import ExitCode
from pando_cli.output import Output
from pando_shared.errors import PandoError, Unavailable


def run(arguments: Sequence[str]) -> int:
    """The exit code of `pando ARGUMENTS`."""
    output = Output(as_json="--json" in arguments)
    try:
        build()(list(arguments), prog_name="pando")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except PandoError as error:
        output.error(error)
        if isinstance(error, CliError):
            return error.exit_code
        return ExitCode.UNREACHABLE if isinstance(error, Unavailable) else ExitCode.FAILED
    except BrokenPipeError:
        # The reader (`| head`) has had enough. Nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except OSError as error:
        output.error(_of_this_machine(error))
        return ExitCode.FAILED
    return ExitCode.OK


def _of_this_machine(error: OSError) -> CliError:
    """A disk that is full, a folder that is another user's: the system's own words say it."""
    reason = error.strerror or str(error)
    message = f"{error.filename}: {reason}" if error.filename else reason
    return CliError(message, code="system_error")


def main() -> None:
    sys.exit(run(sys.argv[1:]))
