from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pando_cli.client_config import ClientConfig
from pando_cli.stack.readiness import Readiness

CONFIG = ClientConfig("http://127.0.0.1:8000", "sk-1")
SINCE = 1000.0


def lacking(
    *workers: dict[str, Any], ready: int = 200, listing: int = 200, wanted: str = "box-cpu"
) -> str | None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(ready)
        return httpx.Response(listing, json={"data": list(workers), "error": {"message": "no"}})

    return ask(answer, wanted)


def ask(answer: Callable[[httpx.Request], httpx.Response], wanted: str = "box-cpu") -> str | None:
    readiness = Readiness(CONFIG, wanted.split(), SINCE, httpx.MockTransport(answer))
    return readiness.lacking()


def worker(name: str = "box-cpu", alive: bool = True, at: float = SINCE + 1) -> dict[str, Any]:
    return {"id": name, "alive": alive, "last_heartbeat_at": at}


def test_all_is_there() -> None:
    assert lacking(worker()) is None


def test_nobody_listens_yet() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert ask(refuse) == "the API does not answer yet"


def test_the_api_is_up_but_redis_is_not() -> None:
    assert lacking(ready=503) == "the API answers but is not ready"


@pytest.mark.parametrize("status", [401, 500])
def test_the_api_does_not_want_us(status: int) -> None:
    found = lacking(listing=status)
    assert found is not None
    assert found.startswith("the API refuses us")


def test_a_worker_is_missing() -> None:
    found = lacking(worker("box-cuda-0"), wanted="box-cuda-0 box-cuda-1")
    assert found == "waiting for worker box-cuda-1"


def test_a_dead_worker_does_not_count() -> None:
    assert lacking(worker(alive=False)) == "waiting for worker box-cpu"


def test_the_last_beat_of_an_earlier_stack_does_not_count() -> None:
    assert lacking(worker(at=SINCE - 1)) == "waiting for worker box-cpu"


def test_somebody_elses_worker_does_not_count() -> None:
    assert lacking(worker("other-cpu")) == "waiting for worker box-cpu"
