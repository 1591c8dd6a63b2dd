"""A service in a test's hands: answers what it was told to, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from pando_cli.client_config import ClientConfig

CONFIG = ClientConfig("http://pando.test", "sk-pando-test")
Answer = httpx.Response | Exception | Any


class FakeService:
    """Answers what it was told to, in order; the last answer for a route is repeated."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """`path` is below /v1; an answer is JSON, a whole response, or an error to raise."""
        self._answers[method, path] = list(answers)

    def body(self, index: int = -1) -> Any:
        """The JSON of a request that came."""
        return json.loads(self.requests[index].content)

    @property
    def paths(self) -> list[str]:
        return [f"{r.method} {r.url.path.removeprefix('/v1')}" for r in self.requests]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        path = request.url.raw_path.decode().split("?")[0].removeprefix("/v1")
        answers = self._answers.get((request.method, path))
        if answers is None:
            return error_response(404, f"no route {request.method} {path}")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)


def error_response(status: int, message: str, **fields: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, **fields}})


def queued_job(job_id: str = "ftjob-1", position: int | None = 1, **fields: Any) -> dict[str, Any]:
    """An entry of /v1/queue."""
    return {
        "id": job_id,
        "object": "queued_job",
        "position": position,
        "model": "tiny",
        "method": "lora",
        "priority": "normal",
        "created_at": 1_700_000_000,
        "waiting_seconds": 75.0,
        "predicted_peak_bytes": 1 << 20,
        "predicted_host_bytes": 0,
        "blocked_reason": None,
        "estimated_start": None,
        **fields,
    }


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Pando = Callable[..., Outcome]


def job(job_id: str = "ftjob-1", status: str = "running", **fields: Any) -> dict[str, Any]:
    """A job object with the fields the API always sends."""
    return {
        "id": job_id,
        "object": "fine_tuning.job",
        "created_at": 1_700_000_000,
        "finished_at": None,
        "model": "tiny",
        "fine_tuned_model": None,
        "status": status,
        "error": None,
        "suffix": None,
        "adapter": {"type": "lora", "rank": 16},
        "progress": {"step": 3, "total_steps": 10, "train_loss": 1.25, "first_loss": 2.5},
        "queue_position": None,
        "blocked_reason": None,
        "estimated_start": None,
        "estimated_finish": None,
        "yielding": None,
        "preemptions": 0,
        "attempts": 0,
        "predicted_peak_bytes": 1 << 20,
        "predicted_host_bytes": 0,
        **fields,
    }
