"""Exit codes that scripts can rely on; `pando --help` prints this table."""

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    #: The job failed or was cancelled, `pando doctor` found something broken, or the server
    #: refused the request.
    FAILED = 1
    #: The command line itself is wrong (typer's own code for it).
    USAGE = 2
    #: Nothing answers at the URL, or it stopped answering.
    UNREACHABLE = 3
    #: No API key, or one the server does not accept.
    UNAUTHORIZED = 4
    #: The local stack: already up, not up when it must be, or not ready in time.
    STACK = 5
    #: Ctrl-C, as shells have it.
    INTERRUPTED = 130


EXPLANATION = """\
Exit codes: 0 all is well; 1 the job failed or was cancelled, a check failed, or the server
refused; 2 wrong usage; 3 the service cannot be reached; 4 no API key, or a wrong one;
5 the local stack is already up, not up, or did not get ready; 130 interrupted."""
