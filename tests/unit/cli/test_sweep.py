"""`pando sweep` and `pando sweeps`: what is sent, shown and returned."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fake_service import FakeService, Pando, error_response

from pando_cli.api import Api
from pando_cli.errors import Unreachable, UsageError
from pando_cli.grid_option import grid
from pando_cli.snapshots import sweep_snapshots

SWEEPS = "/fine_tuning/sweeps"
SWEEP = f"{SWEEPS}/sweep-1"
START = ("sweep", "file-1", "--model", "tiny", "--validation", "file-2")
GRID = ("--grid", "learning_rate=1e-4,3e-4", "--grid", "adapter.rank=8")


def trial(number: int, status: str = "running", **fields: Any) -> dict[str, Any]:
    return {
        "job_id": f"ftjob-{number}",
        "values": {"learning_rate": number / 1e4, "adapter.rank": 8},
        "status": status,
        "step": 30,
        "total_steps": 90,
        "rung_losses": [2.5, None],
        "valid_loss": 2.0 + number,
        "rank": number,
        "fine_tuned_model": f"ft:{number}" if status == "succeeded" else None,
        **fields,
    }


def sweep(status: str = "running", *trials: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "sweep-1",
        "object": "fine_tuning.sweep",
        "created_at": 1_700_000_000,
        "model": "tiny",
        "halving": {"eta": 3, "rungs": 2},
        "status": status,
        "best_job_id": "ftjob-1",
        "trials": list(trials) or [trial(2), trial(1)],
        **fields,
    }


WON = sweep("succeeded", trial(2, "cancelled"), trial(1, "succeeded"))


def test_a_grid_is_sent_beside_the_jobs_knobs(pando: Pando, service: FakeService) -> None:
    service.on("POST", SWEEPS, sweep())
    done = pando(*START, *GRID, "--epochs", "2", "--alpha", "4", "--suffix", "pirate", "--json")
    assert (done.code, done.json["id"]) == (0, "sweep-1")
    body = service.body()
    assert body["grid"] == {"learning_rate": [1e-4, 3e-4], "adapter.rank": [8]}
    assert (body["training_file"], body["validation_file"]) == ("file-1", "file-2")
    assert body["adapter"] == {"type": "lora", "alpha": 4.0}
    assert body["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2}
    assert body["suffix"] == "pirate"
    assert body.keys().isdisjoint({"halving", "samples"})


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (("--samples", "3"), {"samples": 3}),
        (("--eta", "4", "--rungs", "1"), {"halving": {"eta": 4, "rungs": 1}}),
        (("--rungs", "3"), {"halving": {"rungs": 3}}),
        (("--no-halving",), {"halving": None}),
    ],
)
def test_halving_and_samples_are_sent_where_given(
    pando: Pando, service: FakeService, options: tuple[str, ...], sent: dict[str, Any]
) -> None:
    service.on("POST", SWEEPS, sweep())
    assert pando(*START, *GRID, *options).code == 0
    assert {name: service.body()[name] for name in sent} == sent


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*START,), "--grid"),
        ((*START, *GRID, "--no-halving", "--eta", "2"), "--no-halving"),
        ((*START, "--grid", "learning_rate"), "KNOB=VALUE"),
        ((*START, *GRID, *GRID), "twice"),
        (("sweeps", "--wait"), "need a SWEEP"),
        (("sweeps", "--cancel"), "need a SWEEP"),
    ],
)
def test_wrong_usage_sends_nothing(
    pando: Pando, service: FakeService, arguments: tuple[str, ...], says: str
) -> None:
    done = pando(*arguments)
    assert done.code == 2
    assert says in done.err
    assert service.requests == []


def test_a_refused_sweep_says_why(pando: Pando, service: FakeService) -> None:
    service.on("POST", SWEEPS, error_response(400, "trial 2 (adapter.rank=5000): too much"))
    done = pando(*START, *GRID)
    assert done.code == 1
    assert "trial 2 (adapter.rank=5000)" in done.err


def test_the_trials_are_shown_the_best_first(pando: Pando, service: FakeService) -> None:
    unranked = trial(3, "queued", rank=None, valid_loss=None, rung_losses=[], total_steps=0)
    service.on("GET", SWEEP, sweep("running", unranked, trial(2), trial(1)))
    done = pando("sweeps", "sweep-1")
    assert done.code == 0
    header, *rows = done.out.splitlines()
    assert header.split() == [
        "trial", "values", "rank", "status", "step", "rung", "losses", "valid", "loss",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == ["ftjob-1", "ftjob-2", "ftjob-3"]
    assert rows[0].split()[1:] == [
        "learning_rate=0.0001", "adapter.rank=8", "1", "running", "30/90", "2.500", "-", "3.000",
    ]  # fmt: skip
    assert rows[2].split()[-4:] == ["queued", "-", "-", "-"]
    assert pando("sweeps", "sweep-1", "--json").json["best_job_id"] == "ftjob-1"


def test_sweeps_are_listed(pando: Pando, service: FakeService) -> None:
    service.on("GET", SWEEPS, {"data": [WON], "has_more": False})
    row = pando("sweeps").out.splitlines()[1].split()
    assert row[:6] == [
        "sweep-1", "learning_rate=0.0001", "adapter.rank=8", "tiny", "succeeded", "2/2",
    ]  # fmt: skip
    assert pando("sweeps", "--json").json == {"object": "list", "data": [WON]}
    service.on("GET", SWEEPS, {"data": [], "has_more": False})
    assert "pando sweep --help" in pando("sweeps").out


def test_a_sweep_is_cancelled(pando: Pando, service: FakeService) -> None:
    service.on("POST", f"{SWEEP}/cancel", sweep("cancelled", trial(1, "cancelled")))
    assert pando("sweeps", "sweep-1", "--cancel", "--json").json["status"] == "cancelled"
    assert service.paths == [f"POST {SWEEP}/cancel"]


@pytest.mark.parametrize("command", [(*START, *GRID), ("sweeps", "sweep-1")])
def test_waiting_ends_with_the_best_adapter(
    pando: Pando, service: FakeService, command: tuple[str, ...]
) -> None:
    service.on("POST", SWEEPS, sweep())
    service.on("GET", SWEEP, WON)
    done = pando(*command, "--wait")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "best: ft:1  learning_rate=0.0001 adapter.rank=8"
    assert "learning_rate=0.0002 adapter.rank=8: cancelled" in done.err
    assert pando(*command, "--wait", "--json").json == WON


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_waiting_for_nothing_fails(pando: Pando, service: FakeService, status: str) -> None:
    service.on("GET", SWEEP, sweep(status, trial(1, status)))
    done = pando("sweeps", "sweep-1", "--wait", "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == f"sweep_{status}"


def test_without_validation_there_is_no_best(pando: Pando, service: FakeService) -> None:
    done = trial(1, "succeeded", rank=None, valid_loss=None, rung_losses=[])
    service.on("GET", SWEEP, sweep("succeeded", done, best_job_id=None, halving=None))
    shown = pando("sweeps", "sweep-1", "--wait")
    assert shown.code == 0
    assert "no ranks" in shown.out


def test_snapshots_come_when_something_changed(api: Api, service: FakeService) -> None:
    gone = httpx.ConnectError("refused")
    service.on("GET", SWEEP, sweep(), sweep(), gone, sweep("queued"), WON)
    waits: list[float] = []
    found = list(sweep_snapshots(api, "sweep-1", sleep=waits.append, now=lambda: 0.0))
    assert [each["status"] for each in found] == ["running", "queued", "succeeded"]
    assert len(waits) == 4


def test_snapshots_give_up_on_a_service_that_stays_away(api: Api, service: FakeService) -> None:
    service.on("GET", SWEEP, httpx.ConnectError("refused"))
    times = iter(range(0, 1000, 50))
    with pytest.raises(Unreachable):
        list(sweep_snapshots(api, "sweep-1", sleep=lambda _: None, now=lambda: next(times)))


def test_values_are_json_or_words() -> None:
    assert grid(
        [
            "learning_rate=1e-4, .0003",
            "n_epochs=1,2",
            "lr_scheduler=linear,cosine",
            "batch_size=auto,4",
            'adapter={"type":"lora","rank":8},{"type":"paca"}',
            'adapter.target_modules=["q_proj"],["q_proj","v_proj"]',
        ]
    ) == {
        "learning_rate": [1e-4, 3e-4],
        "n_epochs": [1, 2],
        "lr_scheduler": ["linear", "cosine"],
        "batch_size": ["auto", 4],
        "adapter": [{"type": "lora", "rank": 8}, {"type": "paca"}],
        "adapter.target_modules": [["q_proj"], ["q_proj", "v_proj"]],
    }


@pytest.mark.parametrize(
    "option", ["", "=1", "rank", "rank=", "rank= ", "n_epochs=one,,two", "adapter={type:lora}"]
)
def test_a_grid_must_have_a_knob_and_values(option: str) -> None:
    with pytest.raises(UsageError, match="--grid"):
        grid([option])


@pytest.mark.parametrize("name", ["sweep", "sweeps"])
def test_help_has_examples(pando: Pando, name: str) -> None:
    assert f" {name} " in pando("--help").out
    text = pando(name, "--help").out
    assert "Example" in text
    assert "--json" in text
