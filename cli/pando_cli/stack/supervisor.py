"""Keeps a stack's processes running, and stops them in order."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pando_cli.errors import StackError
from pando_cli.stack.process_group import kill_groups
from pando_cli.stack.service_spec import ServiceSpec
from pando_cli.stack.supervised import Supervised

#: Long enough for a worker to finish its step and write its checkpoints.
STOP_SECONDS = 30.0
#: A service that dies this often before the stack is ready will not get better.
HOPELESS_DEATHS = 4
_TICK_SECONDS = 0.1


class Supervisor:
    """A context manager: on leaving it, all processes have gone.

    Single-threaded; `tick` does what is due. Stopping is the watchdog's work, so that it is the
    same whether we ask for it or die.
    """

    def __init__(self, logs: Path, lock: int, stop_seconds: float = STOP_SECONDS):
        self._logs = logs
        self._services: list[Supervised] = []
        self._hurried = False
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / "watchdog.log").open("ab") as log:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-m", "pando_cli.stack.watchdog", str(stop_seconds)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Of the running services, by name."""
        return {
            service.spec.name: service.pid for service in self._services if service.pid is not None
        }

    def start(self, specs: Iterable[ServiceSpec]) -> None:
        for spec in specs:
            service = Supervised(spec, self._logs / f"{spec.name}.log")
            self._services.append(service)
            self._launch(service)

    def tick(self) -> None:
        """Restart what has died and has waited for long enough.

        Raises:
            StackError: the watchdog is gone, so nothing would stop the services if we died.
        """
        if self._watchdog.poll() is not None:
            raise StackError(
                "the stack's watchdog was killed", hint="Start the stack again with `pando up`."
            )
        for service in self._services:
            group = service.reap()
            if group is not None:
                self._tell("-", service, group)
            if service.due():
                self._launch(service)

    def run_until(self, done: Callable[[], bool], stopping: Callable[[], bool]) -> bool:
        """Tick until `done` (True) or `stopping` (False).

        Raises:
            StackError: a service died again and again without the stack getting ready.
        """
        while not done():
            if stopping():
                return False
            self.tick()
            for service in self._services:
                if service.backoff.deaths >= HOPELESS_DEATHS:
                    raise self._hopeless(service)
            time.sleep(_TICK_SECONDS)
        return True

    def run(self, stopping: Callable[[], bool]) -> None:
        """Tick until `stopping`."""
        while not stopping():
            self.tick()
            time.sleep(_TICK_SECONDS)

    def hurry(self) -> None:
        """Have no more patience: a stop that is under way, or will be, kills."""
        self._hurried = True

    def stop(self) -> None:
        """Workers first, Redis last; returns when all have gone."""
        self._close_pipe()
        while self._watchdog.poll() is None:
            for service in self._services:
                service.reap()
            if self._hurried:
                self._kill_all()
            time.sleep(_TICK_SECONDS)
        # Nobody is left unless the watchdog itself was killed.
        self._kill_all()
        while self.pids:
            for service in self._services:
                service.reap()

    def _close_pipe(self) -> None:
        pipe = self._watchdog.stdin
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()

    def _kill_all(self) -> None:
        kill_groups(list(self.pids.values()))

    def _launch(self, service: Supervised) -> None:
        self._tell("+", service, service.start())

    def _tell(self, sign: str, service: Supervised, group: int) -> None:
        pipe = self._watchdog.stdin
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.write(f"{sign} {int(service.spec.tier)} {group}\n".encode())
                pipe.flush()

    def _hopeless(self, service: Supervised) -> StackError:
        lines = service.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return StackError(
            f"{service.spec.name} keeps dying (exit status {service.exit_status}); "
            "its last words:\n" + "\n".join(lines),
            code="service_died",
            hint=f"The whole log: {service.log}",
        )
