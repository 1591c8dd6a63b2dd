"""Whether the kernel has killed a process of ours because memory ran out."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import Value
from pathlib import Path

from pando_shared.store import WorkerStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where Linux tells of them: of version 2 the mount itself, of version 1 `memory` in it."""

    mount: Path = Path("/sys/fs/cgroup")
    of_process: Path = Path("/proc/self/cgroup")

    def oom_kills(self) -> int:
        """How many processes of this one's group, a container's say, were killed so far; 0 where
        the system does not tell."""
        for file in self._files():
            try:
                text = file.read_text()
            except OSError:
                continue
            found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
            if found is not None:
                return int(found[1])
        return 0

    def _files(self) -> Iterator[Path]:
        """Likeliest first. In a container its own group may be all that is mounted."""
        try:
            lines = self.of_process.read_text().splitlines()
        except OSError:
            lines = []
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield self.mount / path.lstrip("/") / "memory.events"
                yield self.mount / "memory.events"
            elif "memory" in controllers.split(","):
                yield self.mount / "memory" / path.lstrip("/") / "memory.oom_control"
                yield self.mount / "memory" / "memory.oom_control"


class OomKills:
    """Made by a parent before it forks; each child asks once, when it begins."""

    def __init__(self, cgroups: Cgroups | None = None):
        self._cgroups = cgroups or Cgroups()
        self._known = Value("q", self._cgroups.oom_kills())  # shared with children

    def was_killed(self) -> bool:
        """Whether the child before this one was, or so it seems: some process beside us was."""
        count = self._cgroups.oom_kills()
        with self._known.get_lock():
            known: int = self._known.value
            self._known.value = count
        return count > known


def note_killed(store: WorkerStore, worker_id: str) -> str | None:
    """Let the scheduler know that the worker's last process was killed for want of memory, before
    it finds that process's leases void; returns its incarnation, if it is known."""
    log.error("the kernel killed the process before this one because memory ran out")
    for worker in store.list_workers():
        if worker.id == worker_id:
            store.put_worker(replace(worker, killed_for_memory=worker.incarnation))
            return worker.incarnation
    return None
