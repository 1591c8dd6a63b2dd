"""A worker that ran out of memory is believed less, until its process is another one."""

from __future__ import annotations

import math
from dataclasses import replace

from factories import make_worker

from pando_scheduler.trust import BudgetCaps
from pando_shared.reports import RoundReport

WORKER = make_worker(budget_bytes=1000)


def report(measured: int, out_of_memory: int = 1, **fields: object) -> RoundReport:
    told = RoundReport(
        worker_id=WORKER.id,
        incarnation=WORKER.incarnation,
        base_model="tiny",
        device="cpu",
        jobs=(),
        seconds=1.0,
        microbatch_tokens=1,
        longest=1,
        resident_bytes=0,
        predicted_bytes=1,
        measured_bytes=measured,
        out_of_memory=out_of_memory,
    )
    return replace(told, **fields)  # type: ignore[arg-type]


def budget(*reports: RoundReport, **fields: object) -> int:
    caps = BudgetCaps()
    for one in reports:
        caps.observe(one)
    return caps.apply(replace(WORKER, **fields)).budget_bytes  # type: ignore[arg-type]


def test_whoever_has_never_run_out_is_believed() -> None:
    assert budget() == 1000
    assert budget(report(400, out_of_memory=0)) == 1000


def test_it_has_a_little_less_than_what_it_held_then() -> None:
    assert budget(report(400)) == 380
    assert budget(report(400), report(200), report(600)) == 190


def test_nobody_is_believed_more_for_it() -> None:
    assert budget(report(100_000)) == 1000
    assert budget(report(0)) == 1000


def test_it_is_of_one_process_on_one_worker() -> None:
    assert budget(report(400, incarnation="w1-before")) == 1000
    assert budget(report(400, worker_id="w2")) == 1000
    assert budget(report(400), incarnation="w1-second") == 1000


def test_what_is_no_number_of_bytes_is_nothing() -> None:
    assert budget(budget_bytes=-5) == 0
    assert budget(report(400), budget_bytes=math.nan) == 0
