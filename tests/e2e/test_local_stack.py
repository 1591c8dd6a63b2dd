"""`pando up` and its company with every real process: Redis, API, scheduler, workers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from local_stack import LocalStack, eventually, gone

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "demo" / "pirate.jsonl"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("pando") / "home").running() as made:
        yield made


def test_up_says_where_everything_is(stack: LocalStack) -> None:
    assert stack.up["home"] == str(stack.home)
    assert stack.up["api_key"].startswith("sk-pando-")
    names = {"supervisor", "redis", "api", "scheduler", "prepare", "worker-cpu"}
    assert set(stack.up["pids"]) == names
    assert all(psutil.pid_exists(pid) for pid in stack.up["pids"].values())
    kept = json.loads((stack.home / "client.json").read_text())
    assert kept == {"url": stack.up["url"], "api_key": stack.up["api_key"]}
    assert (stack.home / "client.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("service", "series"),
    [
        ("api", "pando_api_request_duration_seconds"),
        ("scheduler", "pando_round_plan_seconds"),
        ("worker-cpu", "pando_round_gap_seconds"),
    ],
)
def test_up_says_where_the_metrics_are(stack: LocalStack, service: str, series: str) -> None:
    assert series in httpx.get(stack.up["metrics"][service]).text


def test_the_home_is_taken(stack: LocalStack) -> None:
    done = stack.pando("up", "--detach", "--json", "--port", "0")
    assert (done.code, done.json["error"]["code"]) == (5, "already_up")


def test_the_port_is_taken(stack: LocalStack, tmp_path: Path) -> None:
    port = stack.up["url"].rsplit(":", 1)[1]
    done = stack.pando("up", "--json", "--port", port, "--home", str(tmp_path / "other"))
    assert (done.code, done.json["error"]["code"]) == (5, "port_in_use")


def test_no_password_stands_in_the_process_list(stack: LocalStack) -> None:
    environment = json.loads((stack.home / "stack.json").read_text())["environment"]
    password = environment["PANDO_REDIS_URL"].split(":")[2].split("@")[0]
    assert not any(password in word for p in stack.processes() for word in p.cmdline())


def test_a_job_from_the_command_line(stack: LocalStack, tmp_path: Path) -> None:
    knobs = ("--model", "tiny", "--max-steps", "4", "--batch-size", "2", "--suffix", "short")
    done = stack.pando("submit", str(DATA), *knobs, "--adapter", "paca", "--wait", "--json")
    assert done.code == 0, done.out + done.err
    job = done.json
    assert (job["status"], job["progress"]["step"]) == ("succeeded", 4)
    shown = stack.pando("show", job["id"], "--json").json
    # A round's peak is known when the round ends, which may be after the job has.
    peaks = ("round_predicted_bytes", "round_measured_bytes")
    assert {**shown, **dict.fromkeys(peaks)} == {**job, **dict.fromkeys(peaks)}
    assert job["id"] in stack.pando("list").out
    events = [
        json.loads(line)
        for line in stack.pando("logs", "-f", job["id"], "--json").out.split("\n")
        if line
    ]
    assert [
        e["data"]["step"] for e in events if e["type"] == "metrics" and "train_loss" in e["data"]
    ] == [1, 2, 3, 4]
    assert stack.pando("cancel", job["id"]).code == 1

    folder = tmp_path / "adapter"
    files = stack.pando("download", job["id"], "-o", str(folder), "--json").json["files"]
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(files)
    said = stack.pando("sample", job["id"], "Where does a bee live?", "--max-tokens", "4", "--json")
    assert said.json["usage"]["completion_tokens"] <= 4, said.out + said.err


def test_an_estimate_creates_no_job(stack: LocalStack) -> None:
    before = stack.pando("list", "--json").json
    found = stack.pando("estimate", str(DATA), "--model", "tiny", "--epochs", "2", "--json").json
    assert (found["examples"], found["n_epochs"]) == (200, 2)
    assert stack.pando("list", "--json").json == before


def test_a_bad_file_fails_the_job_and_says_where(stack: LocalStack, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "one"}\n{"text": \n')
    done = stack.pando("submit", str(bad), "--model", "tiny", "--wait", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "invalid_training_file")
    assert "line 2" in done.json["error"]["message"]


def test_tenants_do_not_see_each_other(stack: LocalStack) -> None:
    made = stack.pando("keys", "create", "--tenant", "acme", "--json").json
    theirs = stack.pando("list", "--json", "--url", stack.up["url"], "--api-key", made["key"])
    assert theirs.json["data"] == []
    assert stack.pando("keys", "revoke", made["id"]).code == 0
    assert stack.pando("list", "--url", stack.up["url"], "--api-key", made["key"]).code == 4


def running_job(stack: LocalStack) -> str:
    """A job that has begun to train and goes on for a while."""
    knobs = ("--model", "tiny", "--batch-size", "2", "--max-steps", "500", "--epochs", "6")
    job_id: str = stack.pando("submit", str(DATA), *knobs, "--json").json["id"]
    assert eventually(lambda: stack.pando("show", job_id, "--json").json["progress"]["step"] > 3)
    return job_id


def test_pause_and_resume(stack: LocalStack) -> None:
    job_id = running_job(stack)
    assert stack.pando("pause", job_id, "--json").json["status"] == "paused"
    assert stack.pando("resume", job_id, "--json").json["status"] in ("queued", "running")
    assert stack.pando("watch", job_id).code == 0
    assert stack.pando("show", job_id, "--json").json["progress"]["step"] == 500


def test_cancel(stack: LocalStack) -> None:
    job_id = running_job(stack)
    assert stack.pando("cancel", job_id, "--json").json["status"] == "cancelled"
    assert stack.pando("watch", job_id, "--json").code == 1
    assert stack.pando("download", job_id).code == 1


def test_recover_after_redis_has_lost_everything(stack: LocalStack) -> None:
    jobs = {job["id"] for job in stack.pando("list", "--json").json["data"]}
    job_id = running_job(stack)
    stack.lose_redis()
    report = stack.pando("recover", "--json").json  # beside the scheduler, which does the same
    assert report["unreadable"] == []
    assert stack.pando("watch", job_id).code == 0
    found = stack.pando("list", "--json", "--limit", "100").json["data"]
    assert {job["id"] for job in found} == jobs | {job_id}


@pytest.mark.parametrize("name", ["api", "redis"])
def test_who_is_killed_comes_back(stack: LocalStack, name: str) -> None:
    before = stack.pando("list", "--json").json
    os.kill(stack.up["pids"][name], signal.SIGKILL)
    assert eventually(
        lambda: stack.pando("list", "--json").out == json.dumps(before, ensure_ascii=False) + "\n"
    )


def test_down_and_up_again(stack: LocalStack) -> None:
    jobs = stack.pando("list", "--json").json
    key = stack.up["api_key"]
    processes = stack.processes()
    assert stack.pando("down", "--json").json == {"home": str(stack.home), "stopped": True}
    assert gone(processes)
    assert stack.pando("list").code == 3
    assert stack.pando("down", "--json").json["stopped"] is False
    stack.start()
    assert stack.up["api_key"] == key
    assert stack.pando("list", "--json").json == jobs


def test_a_killed_supervisor_leaves_nobody_behind(stack: LocalStack) -> None:
    processes = stack.processes()
    os.kill(stack.up["pids"]["supervisor"], signal.SIGKILL)
    assert eventually(lambda: gone(processes))
    stack.start()


def test_a_model_that_is_none(stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    model = f"x={tmp_path}/empty"
    done = stack.pando(
        "up", "--json", "--port", "0", "--home", str(tmp_path / "h"), "--model", model
    )
    assert (done.code, done.json["error"]["code"]) == (5, "service_died")
    assert "empty" in done.json["error"]["message"]


def test_a_redis_that_cannot_read_what_it_kept(stack: LocalStack, tmp_path: Path) -> None:
    home = tmp_path / "h"
    (home / "redis").mkdir(parents=True)
    (home / "redis" / "appendonly.aof").write_bytes(b"no such thing\r\n")
    done = stack.pando("up", "--json", "--port", "0", "--home", str(home))
    assert (done.code, done.json["error"]["code"]) == (5, "service_died")
    assert "redis keeps dying" in done.json["error"]["message"]
    assert "append only file" in done.json["error"]["message"]
