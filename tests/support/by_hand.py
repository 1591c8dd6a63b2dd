"""A background thread that works when it is told to, or when somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class Errand(Future[Any]):
    """A future whose work is done by whoever first waits for it."""

    def __init__(self, work: Callable[[], Any]):
        super().__init__()
        self._work = work

    def run(self) -> None:
        if self.done():
            return
        try:
            self.set_result(self._work())
        except Exception as error:
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> Any:
        self.run()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self.run()
        return super().exception(timeout)


class ByHand(Executor):
    """Does everything at once, or with `postpones` nothing before `run` is called."""

    def __init__(self) -> None:
        self.postpones = False
        self.errands: list[Errand] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Errand:
        errand = Errand(lambda: fn(*args, **kwargs))
        self.errands.append(errand)
        if not self.postpones:
            errand.run()
        return errand

    def run(self) -> None:
        for errand in self.errands:
            errand.run()

    @property
    def waiting(self) -> int:
        return sum(not errand.done() for errand in self.errands)
