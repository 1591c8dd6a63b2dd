"""What goes wrong on the user's side of the wire.

PandoError (shared)
└── CliError               carries an exit code, and says what to do next
    ├── UsageError         the command line or a file it names is wrong
    ├── Refused            the server answered with an error
    ├── Unreachable        the server did not answer
    ├── KeyRejected        no API key, or a wrong one
    └── StackError         the stack on this machine is not as the command needs it
"""

from __future__ import annotations

from pando_cli.exit_codes import ExitCode
from pando_shared.errors import PandoError


class CliError(PandoError):
    """`hint` is the next thing to do, as a sentence."""

    code = "cli_error"
    exit_code = ExitCode.FAILED

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        param: str | None = None,
        code: str | None = None,
    ):
        super().__init__(message, param=param, code=code)
        self.hint = hint


class UsageError(CliError):
    code = "usage"
    exit_code = ExitCode.USAGE


class Refused(CliError):
    """`status` is the HTTP status; `code` and `param` are the server's own."""

    code = "refused"

    def __init__(
        self,
        message: str,
        status: int,
        *,
        hint: str | None = None,
        param: str | None = None,
        code: str | None = None,
    ):
        super().__init__(message, hint=hint, param=param, code=code)
        self.status = status


class Unreachable(CliError):
    code = "unreachable"
    exit_code = ExitCode.UNREACHABLE


class KeyRejected(CliError):
    code = "invalid_api_key"
    exit_code = ExitCode.UNAUTHORIZED


class StackError(CliError):
    code = "stack"
    exit_code = ExitCode.STACK
