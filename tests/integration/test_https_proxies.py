"""The API behind the proxies of docs/https.md: who counts as its client, and what comes through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from api_server import ApiServer, serving
from https_proxy import PROXIES, HttpsProxy, caddy, needs

WRONG = {"Authorization": "Bearer sk-pando-wrong"}
ONE, OTHER = "127.0.0.2", "127.0.0.3"

each_proxy = pytest.mark.parametrize(
    "program", [pytest.param(name, marks=needs(name)) for name in PROXIES]
)


@contextmanager
def behind(
    program: str, redis_url: str, folder: Path, **environment: str
) -> Iterator[tuple[HttpsProxy, ApiServer]]:
    wanted = {"PANDO_FAILED_LOGINS_PER_MINUTE": "4", **environment}
    with (
        serving(redis_url, f"file://{folder}/storage", **wanted) as api,
        PROXIES[program](folder / program, f"127.0.0.1:{api.port}") as proxy,
    ):
        yield proxy, api


def guesses(proxy: HttpsProxy, source: str, *told: str) -> list[int]:
    """The statuses of wrong keys from an address that says it has other ones."""
    with proxy.http(source) as http:
        return [
            http.get("/v1/models", headers={**WRONG, "X-Forwarded-For": each}).status_code
            for each in told
        ]


@each_proxy
def test_wrong_keys_are_their_senders_who_cannot_say_that_they_are_anothers(
    program: str, redis_url: str, tmp_path: Path
) -> None:
    with behind(program, redis_url, tmp_path, PANDO_TRUSTED_PROXIES="127.0.0.1") as (proxy, _):
        forged = [f"192.0.2.{number}" for number in range(6)]
        assert guesses(proxy, ONE, *forged) == [401] * 4 + [429] * 2
        assert guesses(proxy, OTHER, *forged) == [401] * 4 + [429] * 2


@each_proxy
def test_a_proxy_that_nobody_named_counts_as_one_client(
    program: str, redis_url: str, tmp_path: Path
) -> None:
    with behind(program, redis_url, tmp_path) as (proxy, _):
        assert guesses(proxy, ONE, "192.0.2.1", "192.0.2.2", "192.0.2.3") == [401] * 3
        assert guesses(proxy, OTHER, "192.0.2.4", "192.0.2.5") == [401, 429]


@each_proxy
def test_metrics_stay_inside_and_http_leads_to_https(
    program: str, redis_url: str, tmp_path: Path
) -> None:
    with behind(program, redis_url, tmp_path) as (proxy, api), proxy.http() as http:
        for path in ("/metrics", "/metrics/workers"):
            assert httpx.get(f"{api.url}{path}").status_code == 200
            assert http.get(path).status_code == 404
        ready = http.get("/readyz")
        assert ready.status_code == 200
        assert ready.headers["strict-transport-security"] == "max-age=31536000"
        led = httpx.get(f"{proxy.http_url}/v1/models?limit=1")
        assert led.status_code == 308
        assert led.headers["location"].startswith("https://localhost/v1/models?limit=1")


@needs("caddy")
def test_the_api_may_be_below_a_path(redis_url: str, tmp_path: Path) -> None:
    with (
        serving(redis_url, f"file://{tmp_path}/storage") as api,
        caddy(tmp_path / "caddy", f"127.0.0.1:{api.port}", "Below a path") as proxy,
        proxy.http() as http,
    ):
        assert http.get("/pando/readyz").json() == {"status": "ready"}
        assert http.get("/pando/metrics").status_code == 404
        page = http.get("/pando/docs")
        script = httpx.URL(page.text.partition('src="')[2].partition('"')[0])
        assert http.get(page.url.join(script)).status_code == 200
        assert http.get("/pando/openapi.json").json().get("servers") is None
