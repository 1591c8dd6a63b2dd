"""`pando up --detach`: the same `pando up`, in a session of its own, until it says it is ready."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from pando_cli.errors import StackError
from pando_cli.home import Home


def start_detached(home: Home, options: Sequence[str]) -> dict[str, Any]:
    """What the supervisor printed when ready: the object of `pando up --json`.

    Raises:
        StackError: it gave up; the message is its own.
    """
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.logs.mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pando_cli",
        "up",
        "--json",
        "--home",
        str(home.root),
        *options,
    ]
    with (home.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if not line.strip():
        raise StackError(
            f"the supervisor ended with status {process.wait()} and said nothing",
            hint=f"Its log: {home.logs / 'supervisor.log'}",
        )
    answer: dict[str, Any] = json.loads(line)
    error = answer.get("error")
    if error is not None:
        process.wait()
        raise StackError(error["message"], code=error["code"], hint=error["hint"])
    # The supervisor lives on without us; it is nobody's to wait for.
    process.returncode = 0
    return answer
