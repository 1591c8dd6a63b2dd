"""`pando doctor` as a whole: a stack that is well, one that is not, and none."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from celery_worker import celery_worker
from factories import make_worker
from fake_service import CONFIG, FakeService, Outcome, Pando
from redis import Redis
from redis_process import RedisProcess, free_port

from pando_cli import client_config, stack_record
from pando_cli.commands import doctor
from pando_cli.doctor.examination import examine
from pando_cli.home import Home
from pando_cli.stack import home_lock
from pando_cli.stack_record import StackRecord
from pando_shared.store.messages import PREPARE_QUEUE
from pando_shared.store.redis import RedisStore

NAMES_OF_A_STACK = ("Redis", "API", "workers", "scheduler", "prepare")


@pytest.fixture
def alone(pando: Pando, monkeypatch: pytest.MonkeyPatch) -> Pando:
    """A `pando` on a machine where nothing runs and nothing was said of any stack."""
    for name in ("URL", "API_KEY", "REDIS_URL", "STORAGE_URL", "MODELS", "POLICY_FILE"):
        monkeypatch.delenv(f"PANDO_{name}", raising=False)
    return pando


@pytest.fixture(scope="module")
def prepares(redis_process: RedisProcess) -> Iterator[str]:
    """The name of a Celery worker that takes what is to be prepared; there is nothing."""
    name = "prepare-here-1"
    with celery_worker(redis_process.url, f"{name}@here", PREPARE_QUEUE):
        yield name


@pytest.fixture
def stack(
    service: FakeService,
    pando: Pando,
    prepares: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Pando:
    """A `pando` whose environment names a stack that is well: a Redis, and an API that is ours."""
    service.on("GET", "/healthz", {"status": "ok"})
    service.on("GET", "/readyz", {"status": "ready"})
    service.on("GET", "/openapi.json", {"info": {"version": version("pando-cli")}})
    service.on("GET", "/workers", {"data": []})
    (tmp_path / "storage").mkdir()
    monkeypatch.setenv("PANDO_REDIS_URL", redis_url)
    monkeypatch.setenv("PANDO_STORAGE_URL", f"file://{tmp_path}/storage")
    monkeypatch.delenv("PANDO_MODELS", raising=False)
    monkeypatch.delenv("PANDO_POLICY_FILE", raising=False)
    monkeypatch.setattr(doctor, "examine", functools.partial(examine, transport=service.transport))
    store = RedisStore(redis_url)
    store.put_worker(make_worker("w1", heartbeat_at=time.time()))
    store.lead("scheduler-1", 60)
    store.close()
    return pando


def statuses(done: Outcome) -> dict[str, str]:
    return {finding["name"]: finding["status"] for finding in done.json["findings"]}


def failures(done: Outcome) -> list[str]:
    return [name for name, status in statuses(done).items() if status == "fail"]


def test_a_stack_that_is_well(stack: Pando) -> None:
    done = stack("doctor", "--json")
    assert failures(done) == []
    assert done.code == 0
    found = statuses(done)
    asked = [name for name in found if name.split()[0] in NAMES_OF_A_STACK]
    assert len(asked) == 15
    assert {found[name] for name in [*asked, "clock", "storage"]} == {"ok"}


def test_something_broken(stack: Pando, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            done, told = stack("doctor", "--json"), stack("doctor")
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
    assert failures(done) == ["Redis eviction"]
    assert (done.code, done.json["status"]) == (1, "fail")
    assert told.code == 1
    assert "CONFIG SET maxmemory-policy noeviction" in told.out
    assert "1 fail" in told.out


def test_a_warning_is_no_failure(stack: Pando, redis_url: str) -> None:
    store = RedisStore(redis_url)
    store.put_worker(make_worker("w2", heartbeat_at=time.time() - 100))
    store.close()
    done = stack("doctor", "--json")
    assert statuses(done)["workers"] == "warn"
    assert (done.code, done.json["status"]) == (0, "warn")


def test_without_redis_the_api_tells_of_workers(
    stack: Pando, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PANDO_REDIS_URL")
    worker = {"id": "w1", "alive": True, "draining": False, "last_heartbeat_at": time.time()}
    service.on("GET", "/workers", {"data": [worker]})
    done = stack("doctor", "--json")
    found = statuses(done)
    assert found["workers"] == "ok"
    assert {found[name] for name in ("scheduler", "prepare", "Redis")} == {"skipped"}
    assert (found["storage"], found["base models"]) == ("skipped", "skipped")
    assert done.code == 0


def test_the_stack_that_runs_in_the_home(
    stack: Pando, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("URL", "API_KEY", "REDIS_URL", "STORAGE_URL"):
        monkeypatch.delenv(f"PANDO_{name}", raising=False)
    home = Home.locate(tmp_path / "home")
    environment = {
        "PANDO_REDIS_URL": redis_url,
        "PANDO_STORAGE_URL": f"file://{tmp_path}/storage",
        "PANDO_MODELS": "gone=/no/such/folder",
    }
    with home_lock.hold(home):
        stack_record.save(home, StackRecord(os.getpid(), CONFIG.url, environment))
        client_config.save(home, CONFIG)
        home.policy.write_text("")
        done = stack("doctor", "--json")
    found = statuses(done)
    assert (found["Redis"], found["API"], found["API key"]) == ("ok", "ok", "ok")
    assert (found["home"], found["key files"]) == ("ok", "ok")
    assert (found["port of the API"], found["port of Redis"]) == ("skipped", "skipped")
    assert f"in use by the stack in {home.root}" in done.out
    assert found["policy"] == "warn"
    assert failures(done) == ["base model gone"]


def test_nothing_runs(alone: Pando, tmp_path: Path) -> None:
    done = alone("doctor", "--json")
    found = {finding["name"]: finding for finding in done.json["findings"]}
    for name in NAMES_OF_A_STACK:
        assert found[name]["status"] == "skipped"
        assert "no stack runs in" in found[name]["found"]
    assert found["base model tiny"]["status"] == "ok"
    assert not (tmp_path / "home").exists()


def test_nothing_answers(
    stack: Pando, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("GET", "/healthz", httpx.ConnectError("connection refused"))
    monkeypatch.setenv("PANDO_REDIS_URL", f"redis://:geheim@127.0.0.1:{free_port()}/0")
    done = stack("doctor", "--json")
    assert failures(done) == ["Redis", "API"]
    assert statuses(done)["workers"] == "skipped"
    assert done.code == 1


def test_no_secret_is_printed(
    stack: Pando, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.config_set("requirepass", "geheim")
        monkeypatch.setenv("PANDO_REDIS_URL", redis_url.replace("redis://", "redis://:geheim@"))
        try:
            told = stack("doctor"), stack("doctor", "--json")
        finally:
            redis.config_set("requirepass", "")
    assert statuses(told[1])["Redis access"] == "ok"
    for done in told:
        assert "geheim" not in done.out + done.err
        assert CONFIG.api_key not in done.out + done.err


def test_torch_is_not_imported(tmp_path: Path) -> None:
    """It takes seconds, and may itself be what is broken."""
    code = (
        "import sys\n"
        "from pando_cli.main import run\n"
        "run(['doctor', '--json'])\n"
        "assert not {'torch', 'transformers', 'triton'} & set(sys.modules)"
    )
    mine = {k: v for k, v in os.environ.items() if not k.startswith("PANDO_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**mine, "PANDO_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_process_that_prepares_data_is_named(stack: Pando, prepares: str) -> None:
    findings = {finding["name"]: finding for finding in stack("doctor", "--json").json["findings"]}
    assert findings["prepare"]["found"] == f"{prepares} answers; no job waits"
