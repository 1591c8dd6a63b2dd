"""Command lines against a fake service: what is sent, printed and returned."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_service import FakeService, Pando, error_response, job, queued_job

NOW = 1_700_000_000
JOB = "/fine_tuning/jobs/ftjob-1"
LIST = {"data": [job("ftjob-2", "queued"), job("ftjob-1")], "has_more": False}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "pirate.jsonl"
    path.write_text('{"prompt": "Hello", "completion": "Arr"}\n')
    return path


def test_submit_uploads_and_creates(pando: Pando, service: FakeService, data: Path) -> None:
    service.on("POST", "/files", {"id": "file-9"})
    service.on("POST", "/fine_tuning/jobs", job(status="validating_files"))
    done = pando(
        "submit", str(data), "--model", "tiny", "--rank", "8", "--suffix", "pirate", "--json"
    )
    assert done.code == 0
    assert done.json["id"] == "ftjob-1"
    body = service.body()
    assert (body["model"], body["training_file"], body["suffix"]) == ("tiny", "file-9", "pirate")
    assert body["adapter"] == {"type": "lora", "rank": 8}


def test_submit_takes_file_ids(pando: Pando, service: FakeService) -> None:
    service.on("POST", "/fine_tuning/jobs", job())
    arguments = ("file-1", "--model", "tiny", "--validation", "file-2", "--adapter", "paca")
    assert pando("submit", *arguments).code == 0
    assert service.paths == ["POST /fine_tuning/jobs"]
    assert service.body()["validation_file"] == "file-2"


def test_submit_of_no_file_sends_nothing(pando: Pando, service: FakeService) -> None:
    done = pando("submit", "nowhere.jsonl", "--model", "tiny")
    assert done.code == 2
    assert "nowhere.jsonl does not exist" in done.err
    assert service.requests == []


@pytest.mark.parametrize(
    ("given", "said"),
    [("/dev/null", "is a pipe or device"), (".", "is a folder"), ("~nobody-here/x", "not exist")],
)
def test_submit_of_what_is_no_file(
    pando: Pando, service: FakeService, given: str, said: str
) -> None:
    done = pando("submit", given, "--model", "tiny")
    assert done.code == 2
    assert done.err.startswith(f"error: {given} ")
    assert said in done.err
    assert service.requests == []


def test_a_refused_submit_says_why(pando: Pando, service: FakeService) -> None:
    refusal = error_response(400, "unknown model 'tny'; there are: tiny", param="model", code="c")
    service.on("POST", "/fine_tuning/jobs", refusal)
    done = pando("submit", "file-1", "--model", "tny")
    assert done.code == 1
    assert "unknown model 'tny'; there are: tiny" in done.err
    assert done.out == ""
    done = pando("submit", "file-1", "--model", "tny", "--json")
    assert done.json["error"]["param"] == "model"


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_submit_can_wait(pando: Pando, service: FakeService, status: str, code: int) -> None:
    service.on("POST", "/fine_tuning/jobs", job(status="validating_files"))
    error = {"code": "invalid_training_file", "message": "line 4711 is not JSON"}
    ended = job(status=status, fine_tuned_model="ft:x", error=error if status == "failed" else None)
    service.on("GET", JOB, ended)
    done = pando("submit", "file-1", "--model", "tiny", "--wait", "--json")
    assert done.code == code
    if status == "succeeded":
        assert done.json["fine_tuned_model"] == "ft:x"
    if status == "failed":
        assert "line 4711" in done.json["error"]["message"]
        assert done.json["error"]["code"] == "invalid_training_file"


def test_estimate_creates_nothing(pando: Pando, service: FakeService) -> None:
    found = {
        "examples": 100,
        "tokens": 5000,
        "token_count": "counted",
        "n_epochs": 3,
        "steps": 39,
        "predicted_peak_bytes": 3 << 20,
        "predicted_host_bytes": 0,
        "largest_worker_bytes": None,
        "largest_worker_host_bytes": None,
        "duration_seconds": None,
        "earliest_start": None,
    }
    service.on("POST", "/fine_tuning/estimate", found)
    assert pando("estimate", "file-1", "--model", "tiny", "--json").json == found
    text = pando("estimate", "file-1", "--model", "tiny").out
    assert "3.0 MiB" in text
    assert "host" not in text


def test_estimate_has_a_gpu_workers_host(pando: Pando, service: FakeService) -> None:
    found = {
        "examples": 1,
        "tokens": 1,
        "token_count": "counted",
        "n_epochs": 1,
        "steps": 1,
        "predicted_peak_bytes": 3 << 30,
        "predicted_host_bytes": 5 << 30,
        "largest_worker_bytes": 40 << 30,
        "largest_worker_host_bytes": 100 << 30,
        "duration_seconds": None,
        "earliest_start": None,
    }
    service.on("POST", "/fine_tuning/estimate", found)
    text = pando("estimate", "file-1", "--model", "tiny").out
    for figure in ("3.0 GiB", "5.0 GiB", "40.0 GiB", "100.0 GiB"):
        assert figure in text


def test_workers_show_both_memories(pando: Pando, service: FakeService) -> None:
    cpu = {
        "id": "box-cpu",
        "device": "cpu",
        "base_model": None,
        "alive": True,
        "jobs": 0,
        "peak_bytes": 0,
        "budget_bytes": 8 << 30,
        "host_budget_bytes": None,
        "tokens_per_second": 0.0,
    }
    gpu = cpu | {"id": "box-cuda-0", "device": "cuda:0", "host_budget_bytes": 100 << 30}
    service.on("GET", "/workers", {"object": "list", "data": [cpu, gpu]})
    lines = pando("workers").out.splitlines()
    assert "host budget" in lines[0]
    assert "8.0 GiB" in lines[1]
    assert "100.0 GiB" not in lines[1]
    assert "100.0 GiB" in lines[2]


def test_workers_show_how_well_they_are_predicted_and_who_is_emptied(
    pando: Pando, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    prediction = {
        "rounds": 1234,
        "memory_error_p50": 0.0123,
        "memory_error_p99": 0.25,
        "headroom": 0.1,
        "speed_error_p50": None,
    }
    worker = {
        "id": "gpu-box-7-cuda-0",
        "device": "cuda:0",
        "device_kind": "NVIDIA H100 80GB HBM3",
        "base_model": "llama-3.1-8b",
        "alive": True,
        "draining": True,
        "jobs": 12,
        "peak_bytes": 60 << 30,
        "budget_bytes": 80 << 30,
        "host_budget_bytes": 100 << 30,
        "tokens_per_second": 23456.0,
        "prediction": prediction,
    }
    dead = worker | {"id": "dead", "alive": False, "prediction": None}
    service.on("GET", "/workers", {"object": "list", "data": [worker, dead]})
    lines = pando("workers").out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert "draining" in lines[1]
    (at,) = (i for i, line in enumerate(lines) if "speed error" in line)
    told = lines[at + 1]
    assert told.split() == [
        *("gpu-box-7-cuda-0", "NVIDIA", "H100", "80GB", "HBM3"),
        *("1.2", "%", "25.0", "%", "10.0", "%", "-", "1234"),
    ]
    assert len(lines) == at + 2


def test_show_has_a_gpu_workers_host(pando: Pando, service: FakeService) -> None:
    service.on("GET", JOB, job(predicted_host_bytes=5 << 30), job())
    assert "5.0 GiB" in pando("show", "ftjob-1").out
    assert "host" not in pando("show", "ftjob-1").out


def test_list(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/fine_tuning/jobs", LIST)
    assert [entry["id"] for entry in pando("list", "--json").json["data"]] == ["ftjob-2", "ftjob-1"]
    text = pando("list").out
    assert "ftjob-2" in text
    assert "queued" in text
    assert "3/10" in text


def test_list_of_nothing_says_how_to_start(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/fine_tuning/jobs", {"data": [], "has_more": False})
    assert "pando submit" in pando("list").out
    assert pando("list", "--json").json == {"object": "list", "data": []}


def test_show_says_why_a_job_waits_and_until_when(
    pando: Pando, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "needs 9 GiB, the worker has 4 free"
    waits = {"queue_position": 3, "blocked_reason": reason}
    times = {"estimated_start": NOW + 860, "estimated_finish": NOW + 7290}
    service.on("GET", JOB, job(status="queued", **waits, **times))
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    rows = dict(line.split("  ", 1) for line in pando("show", "ftjob-1").out.splitlines())
    assert rows["waits because"].strip() == reason
    assert rows["queue position"].strip() == "3"
    assert rows["starts about"].strip().endswith(" (in 14m20s)")
    assert rows["ends about"].strip().endswith(" (in 2h01m)")
    assert "preemptions" not in rows


def test_show_says_why_a_job_leaves(pando: Pando, service: FakeService) -> None:
    told = "leaves its worker: a job of a higher class waits"
    service.on("GET", JOB, job(yielding=told, preemptions=2, attempts=1, estimated_finish=NOW))
    rows = dict(line.split("  ", 1) for line in pando("show", "ftjob-1").out.splitlines())
    assert rows["yielding"].strip() == told
    assert rows["preemptions"].strip() == "2"
    assert rows["workers lost"].strip() == "1"
    assert rows["ends about"].strip() == "any moment"
    assert "starts about" not in rows


def test_queue_has_each_jobs_place_start_and_reason(
    pando: Pando, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = (
        "needs 31.2 GiB of GPU memory with head-room, the largest free worker has 24.0 GiB; "
        "2 jobs ahead; starts in about 15 min"
    )
    first = queued_job(f"ftjob-{7:024x}", 3, blocked_reason=reason, estimated_start=NOW + 860)
    new = queued_job(f"ftjob-{8:024x}", None, priority="high", method="paca")
    service.on("GET", "/queue", {"object": "list", "depth": 12, "data": [first, new]})
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    for columns in (80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = pando("queue").out.splitlines()
        assert all(len(line) <= columns for line in lines)
        assert lines[0].split() == ["#", "job", "method", "priority", "waits", "starts", "in"]
        assert lines[1].split() == ["3", first["id"], "lora", "normal", "1m15s", "14m20s"]
        assert " ".join(line.strip() for line in lines[2:-1]) == reason
        assert lines[-1].split() == ["-", new["id"], "paca", "high", "1m15s", "-"]


def test_queue_of_nothing_says_so(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/queue", {"object": "list", "depth": 2, "data": []})
    assert pando("queue").out == "None of your jobs wait.\n"


def test_brackets_are_no_markup(pando: Pando, service: FakeService) -> None:
    service.on("GET", JOB, job(status="failed", error={"message": "key [bold] and [/x]"}))
    assert "key [bold] and [/x]" in pando("show", "ftjob-1").out
    service.on("GET", JOB, error_response(400, "odd [/red] text"))
    assert "odd [/red] text" in pando("show", "ftjob-1").err


@pytest.mark.parametrize(
    ("verb", "status"), [("cancel", "cancelled"), ("pause", "paused"), ("resume", "queued")]
)
def test_verbs(pando: Pando, service: FakeService, verb: str, status: str) -> None:
    service.on("POST", f"{JOB}/{verb}", job(status=status))
    assert pando(verb, "ftjob-1", "--json").json["status"] == status
    assert pando(verb, "ftjob-1").out == f"ftjob-1 {status}\n"


def test_watch_ends_with_the_jobs(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/fine_tuning/jobs", LIST)
    service.on("GET", JOB, job(status="succeeded"))
    service.on("GET", "/fine_tuning/jobs/ftjob-2", job("ftjob-2", "succeeded"))
    done = pando("watch", "--json")
    assert done.code == 0
    assert [[j["status"] for j in line["jobs"]] for line in done.lines] == [["succeeded"] * 2]


def test_watch_tells_of_a_loss(pando: Pando, service: FakeService) -> None:
    service.on("GET", JOB, job(status="failed"))
    done = pando("watch", "ftjob-1")
    assert done.code == 1
    assert "ftjob-1 failed" in done.err


def test_logs_are_printed_oldest_first(pando: Pando, service: FakeService) -> None:
    events = [
        {"id": f"ev-{i}", "created_at": 1_700_000_000, "level": "info", "message": f"Step {i}/2"}
        for i in (2, 1)
    ]
    service.on("GET", f"{JOB}/events", {"data": events, "has_more": False})
    assert [line["message"] for line in pando("logs", "ftjob-1", "--json").lines] == [
        "Step 1/2",
        "Step 2/2",
    ]


def test_logs_follow_to_the_end(pando: Pando, service: FakeService) -> None:
    event = {"id": "ev-0", "created_at": 1_700_000_000, "level": "info", "message": "Step 1/1"}
    stream = httpx.Response(
        200,
        text=f"data: {json.dumps(event)}\n\n",
        headers={"content-type": "text/event-stream"},
    )
    service.on("GET", JOB, job(status="succeeded"))
    service.on("GET", f"{JOB}/events", stream)
    done = pando("logs", "-f", "ftjob-1")
    assert done.code == 0
    assert "Step 1/1" in done.out


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_download_of_a_jobs_adapter(pando: Pando, service: FakeService, tmp_path: Path) -> None:
    service.on("GET", JOB, job(status="succeeded", fine_tuned_model="ft:tiny:me:pirate:1f"))
    content = httpx.Response(200, content=archive(config=b"{}", weights=b"1234"))
    service.on("GET", "/models/ft%3Atiny%3Ame%3Apirate%3A1f/content", content)
    done = pando("download", "ftjob-1", "--json")
    assert done.json == {
        "model": "ft:tiny:me:pirate:1f",
        "path": str(tmp_path / "ft-tiny-me-pirate-1f"),
        "files": ["config", "weights"],
        "bytes": 6,
    }


def test_download_before_the_end(pando: Pando, service: FakeService) -> None:
    service.on("GET", JOB, job(status="running"))
    done = pando("download", "ftjob-1")
    assert done.code == 1
    assert "ftjob-1 is running and has no adapter" in done.err


def completion(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": "stop", **choice}], "usage": {"total_tokens": 7}}


def test_sample_chats(pando: Pando, service: FakeService) -> None:
    service.on("POST", "/chat/completions", completion(message={"content": "Arr [matey]!"}))
    assert pando("sample", "ft:x", "Hello").out == "Arr [matey]!\n"
    assert service.body()["messages"] == [{"role": "user", "content": "Hello"}]
    assert "seed" not in service.body()


def test_sample_continues_raw_text(pando: Pando, service: FakeService) -> None:
    service.on("POST", "/completions", completion(text=" upon a time"))
    done = pando("sample", "tiny", "Once", "--raw", "--seed", "3", "--json")
    assert done.json["text"] == " upon a time"
    assert done.json["usage"] == {"total_tokens": 7}
    assert (service.body()["prompt"], service.body()["seed"]) == ("Once", 3)


def test_nobody_there(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/queue", httpx.ConnectError("refused"))
    assert pando("queue").code == 3
    assert pando("queue", "--json").json["error"]["code"] == "unreachable"


def test_a_wrong_key(pando: Pando, service: FakeService) -> None:
    service.on("GET", "/queue", error_response(401, "unknown key"))
    done = pando("queue")
    assert done.code == 4
    assert "pando keys create" in done.err


@pytest.mark.parametrize(
    "arguments",
    [("submit",), ("nonsense",), ("list", "--limit", "0"), ("submit", "x", "--adapter", "dora")],
)
def test_wrong_usage(pando: Pando, arguments: tuple[str, ...]) -> None:
    assert pando(*arguments).code == 2


def test_help_of_every_command(pando: Pando) -> None:
    overview = pando("--help")
    assert overview.code == 0
    assert "Exit codes" in overview.out
    names = (
        "up down doctor demo submit estimate list show watch logs cancel pause resume models "
        "download sample files workers queue usage recover"
    )
    for name in names.split():
        assert name in overview.out
        text = pando(name, "--help").out
        assert "Example" in text, name
        assert "--json" in text, name
    for name in ("create", "list", "revoke"):
        assert "Example" in pando("keys", name, "--help").out


def test_help_shows_brackets(pando: Pando) -> None:
    assert '{"object": "list", "data": [job, ...]}' in pando("list", "--help").out
