"""Processes that are kept running, as an orchestrator does, while others kill and stop them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

#: An orchestrator's pause before it starts anew what has died.
_RESTART_SECONDS = 0.5
_LOOK_SECONDS = 0.1
#: What a process may take to end by itself, checkpoints included.
_STOP_SECONDS = 20.0


@dataclass(slots=True)
class Kept:
    """One process of a command. `deaths` counts how often it was started anew."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0
    deaths: int = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def look(self) -> None:
        """Bury it if it has died, with whoever it left behind; start it again when it is time."""
        if self.process is None:
            if time.monotonic() >= self.start_at:
                self.start()
        elif self.process.poll() is not None:
            _signal_group(self.process.pid, signal.SIGKILL)
            self.process = None
            self.deaths += 1
            self.start_at = time.monotonic() + _RESTART_SECONDS

    def child(self) -> int | None:
        """The process below it that does the work: a worker's, which holds the base model."""
        process = self.process
        if process is None:
            return None
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children()
            return children[0].pid if children else None
        return None


@dataclass(slots=True)
class Keeper:
    """A thread that looks after processes."""

    kept: dict[str, Kept] = field(default_factory=dict)
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, processes: Sequence[Kept]) -> None:
        self.kept = {each.name: each for each in processes}
        for each in processes:
            each.start()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            for each in self.kept.values():
                each.look()

    def pid(self, name: str) -> int | None:
        """None while it is not there. `worker-N-child` is the training process of `worker-N`."""
        if name.endswith("-child"):
            return self.kept[name.removesuffix("-child")].child()
        process = self.kept[name].process
        return None if process is None else process.pid

    def stop(self) -> None:
        """All end, workers first; whoever does not in time is killed."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        for each in sorted(self.kept.values(), key=lambda kept: "worker" not in kept.name):
            if each.process is not None:
                _signal_group(each.process.pid, signal.SIGCONT)
                each.process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for each in self.kept.values():
            if each.process is not None:
                with suppress(subprocess.TimeoutExpired):
                    each.process.wait(max(0.0, deadline - time.monotonic()))
                _signal_group(each.process.pid, signal.SIGKILL)
                each.process.wait()


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
