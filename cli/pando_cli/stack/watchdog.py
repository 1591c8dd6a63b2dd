"""Stops a stack, whatever becomes of its supervisor.

Started by the supervisor (`python -m pando_cli.stack.watchdog PATIENCE`) with a pipe as stdin,
through which it learns of each process group: lines `+ TIER GROUP` and `- TIER GROUP`. When the
pipe closes, because the supervisor wants to stop or because it was killed, the watchdog stops the
groups tier by tier, workers first and Redis last. It inherits the home's lock, so that no second
stack can start before the last process of this one has gone.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable

from pando_cli.stack.process_group import stop_groups


def living_groups(lines: Iterable[str]) -> set[tuple[int, int]]:
    """(tier, group) of all groups that were announced and not withdrawn, once the pipe closes."""
    groups: set[tuple[int, int]] = set()
    for line in lines:
        if not line.endswith("\n"):
            break  # Cut off in the middle: the supervisor died while it wrote.
        sign, tier, group = line.split()
        change = groups.add if sign == "+" else groups.discard
        change((int(tier), int(group)))
    return groups


def main() -> None:
    # Whoever ends a terminal or a session must not end the one that cleans up after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    patience = float(sys.argv[1])
    groups = living_groups(sys.stdin)
    for tier in sorted({tier for tier, _ in groups}, reverse=True):
        stop_groups([group for its_tier, group in groups if its_tier == tier], patience)


if __name__ == "__main__":
    main()
