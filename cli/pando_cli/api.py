"""The service's endpoints as methods. JSON objects come back as the API sends them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from pando_cli.client_config import ClientConfig
from pando_cli.http_client import HttpClient

JsonObject = dict[str, Any]

_JOBS = "fine_tuning/jobs"
_SWEEPS = "fine_tuning/sweeps"
_WEBHOOKS = "webhook_endpoints"


class Api:
    """All methods raise Unreachable, KeyRejected or Refused."""

    def __init__(self, config: ClientConfig, transport: httpx.BaseTransport | None = None):
        self.http = HttpClient(config, transport)

    # Jobs

    def create_job(self, body: Mapping[str, Any]) -> JsonObject:
        return self._object("POST", _JOBS, json=body)

    def job(self, job_id: str) -> JsonObject:
        return self._object("GET", f"{_JOBS}/{_segment(job_id)}")

    def jobs(self, limit: int) -> list[JsonObject]:
        """Newest first, at most `limit`, however many pages that takes."""
        return self._pages(_JOBS, limit)

    def act(self, job_id: str, verb: str) -> JsonObject:
        """`verb` is cancel, pause or resume; the job as it is afterwards."""
        return self._object("POST", f"{_JOBS}/{_segment(job_id)}/{verb}")

    def events(self, job_id: str, limit: int) -> list[JsonObject]:
        """Newest first."""
        return self._pages(f"{_JOBS}/{_segment(job_id)}/events", limit)

    def checkpoints(self, job_id: str) -> list[JsonObject]:
        return self._pages(f"{_JOBS}/{_segment(job_id)}/checkpoints", 1000)

    def estimate(self, body: Mapping[str, Any]) -> JsonObject:
        return self._object("POST", "fine_tuning/estimate", json=body)

    # Sweeps

    def create_sweep(self, body: Mapping[str, Any]) -> JsonObject:
        return self._object("POST", _SWEEPS, json=body)

    def sweep(self, sweep_id: str) -> JsonObject:
        return self._object("GET", f"{_SWEEPS}/{_segment(sweep_id)}")

    def sweeps(self, limit: int) -> list[JsonObject]:
        """Newest first."""
        return self._pages(_SWEEPS, limit)

    def cancel_sweep(self, sweep_id: str) -> JsonObject:
        return self._object("POST", f"{_SWEEPS}/{_segment(sweep_id)}/cancel")

    # Files

    def upload(self, path: Path, purpose: str = "fine-tune") -> JsonObject:
        """Streams the file; it is never held in memory."""
        with path.open("rb") as stream:
            return self._object(
                "POST", "files", data={"purpose": purpose}, files={"file": (path.name, stream)}
            )

    def files(self) -> list[JsonObject]:
        return self._pages("files", 10_000)

    def delete_file(self, file_id: str) -> JsonObject:
        return self._object("DELETE", f"files/{_segment(file_id)}")

    # Models

    def models(self) -> list[JsonObject]:
        data: list[JsonObject] = self._object("GET", "models")["data"]
        return data

    def adapter(self, model: str) -> Iterator[bytes]:
        """The adapter's folder as an uncompressed tar, piece by piece."""
        path = f"models/{_segment(model)}/content"
        with self.http.streaming("GET", path, params={"format": "tar"}) as response:
            yield from response.iter_bytes(1 << 16)

    def complete(self, body: Mapping[str, Any]) -> JsonObject:
        return self._object("POST", "completions", json=body)

    def chat(self, body: Mapping[str, Any]) -> JsonObject:
        return self._object("POST", "chat/completions", json=body)

    # Webhooks

    def create_webhook(self, body: Mapping[str, Any]) -> JsonObject:
        return self._object("POST", _WEBHOOKS, json=body)

    def webhooks(self) -> list[JsonObject]:
        return self._pages(_WEBHOOKS, 1000)

    def delete_webhook(self, webhook_id: str) -> JsonObject:
        return self._object("DELETE", f"{_WEBHOOKS}/{_segment(webhook_id)}")

    def rotate_webhook(self, webhook_id: str, body: Mapping[str, Any]) -> JsonObject:
        path = f"{_WEBHOOKS}/{_segment(webhook_id)}/rotate_secret"
        return self._object("POST", path, json=body)

    def test_webhook(self, webhook_id: str, body: Mapping[str, Any]) -> JsonObject:
        return self._object("POST", f"{_WEBHOOKS}/{_segment(webhook_id)}/test", json=body)

    # The fleet

    def workers(self) -> JsonObject:
        return self._object("GET", "workers")

    def usage(self) -> JsonObject:
        return self._object("GET", "usage")

    def usage_of_all(self) -> JsonObject:
        return self._object("GET", "usage/tenants")

    def queue(self) -> JsonObject:
        return self._object("GET", "queue")

    def _object(self, method: str, path: str, **request: Any) -> JsonObject:
        answer: JsonObject = self.http.json(method, path, **request)
        return answer

    def _pages(self, path: str, limit: int) -> list[JsonObject]:
        found: list[JsonObject] = []
        params: dict[str, str | int] = {}
        while len(found) < limit:
            params["limit"] = min(limit - len(found), 100)
            page = self._object("GET", path, params=params)
            data = page["data"]
            found.extend(data)
            if not data or not page.get("has_more"):
                break
            params["after"] = data[-1]["id"]
        return found[:limit]


def _segment(name: str) -> str:
    """One path segment; a name with a slash in it stays one."""
    return quote(name, safe="")
