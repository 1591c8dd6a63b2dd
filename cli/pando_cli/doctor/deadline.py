"""Checks side by side, each given up after a while: a disk or a driver may never answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from pando_cli.doctor.finding import Finding, fail

Check = Callable[[], Sequence[Finding]]


class _Run:
    """One check in a thread that nobody waits for at exit."""

    def __init__(self, check: Check):
        self._check = check
        self._found: Sequence[Finding] = ()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._check()
        except BaseException as error:
            self._error = error

    def result(self, seconds: float) -> Sequence[Finding] | None:
        """None: it still runs. What the check raised, this raises."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            return None
        if self._error is not None:
            raise self._error
        return self._found


def run_within(seconds: float, checks: Mapping[str, Check]) -> list[Finding]:
    """The findings of all checks, in their order; one for each check that is not done in time."""
    runs = {name: _Run(check) for name, check in checks.items()}
    deadline = time.monotonic() + seconds
    found: list[Finding] = []
    for name, run in runs.items():
        result = run.result(max(0.0, deadline - time.monotonic()))
        found += [_late(name, seconds)] if result is None else result
    return found


def _late(name: str, seconds: float) -> Finding:
    return fail(
        name,
        f"no answer within {seconds:g} s",
        "A disk, a driver or a network it depends on hangs. Look at that, then run this again.",
    )
