"""Reports, what was learnt of them, usage and forecasts in every store."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

import pytest
from factories import EPOCH_START, make_job

from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.errors import NotFound
from pando_shared.forecasts import Forecast, Usage
from pando_shared.reports import JobService, RoundReport
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.values import REPORTS_KEPT


def make_report(number: int, *adapters: AdapterConfig) -> RoundReport:
    jobs = tuple(
        JobService(f"ftjob-{n}", adapter, 100 * n, n, 32.5) for n, adapter in enumerate(adapters)
    )
    return RoundReport(
        worker_id="w1",
        incarnation="w1-first",
        base_model="tiny",
        device="cpu",
        jobs=jobs,
        seconds=19.5,
        microbatch_tokens=512,
        longest=77,
        resident_bytes=1000,
        predicted_bytes=2000,
        measured_bytes=1900,
        out_of_memory=number,
    )


def test_reports_are_taken_once_in_their_order(store: Store) -> None:
    reports = [make_report(n, LoraConfig(), PacaConfig(), MeftConfig()) for n in range(5)]
    for report in reports:
        store.push_report(report)
    assert store.take_reports(0) == []
    assert store.take_reports(2) == reports[:2]
    store.push_report(reports[0])
    assert store.take_reports() == [*reports[2:], reports[0]]
    assert store.take_reports() == []


def test_a_report_that_cannot_be_read_is_left_out(redis_url: str) -> None:
    redis_store = RedisStore(redis_url)
    good = make_report(1)
    redis_store.push_report(replace(good, seconds=math.nan))
    redis_store.push_report(good)
    assert redis_store.take_reports() == [good]
    assert redis_store.take_reports() == []
    redis_store.close()


def test_too_many_reports_drop_the_oldest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("redis", "stub"):
        monkeypatch.setattr(f"pando_shared.store.{module}.knowledge.REPORTS_KEPT", 3)
    reports = [make_report(n) for n in range(5)]
    for report in reports:
        store.push_report(report)
    assert store.take_reports() == reports[2:]


def test_the_limit_of_reports_is_generous() -> None:
    assert REPORTS_KEPT == 10_000


def test_a_report_wakes_nobody(store: Store) -> None:
    store.push_report(make_report(0))
    begin = time.monotonic()
    store.wait(0.05)
    assert time.monotonic() - begin >= 0.04


def test_two_takers_share_the_reports(store: Store) -> None:
    taken: list[RoundReport] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            taken.extend(store.take_reports(3))

    takers = [threading.Thread(target=take) for _ in range(2)]
    for taker in takers:
        taker.start()
    for number in range(60):
        store.push_report(make_report(number))
    done.set()
    for taker in takers:
        taker.join()
    taken += store.take_reports()
    assert sorted(report.out_of_memory for report in taken) == list(range(60))


def test_what_was_learnt_is_kept_as_it_is(store: Store) -> None:
    assert store.learnt() == {}
    store.put_learnt("memory tiny cpu", '{"slope": 1}')
    store.put_learnt("memory tiny cpu", '{"slope": 2, "é": null}')
    store.put_learnt("time", "[]")
    assert store.learnt() == {"memory tiny cpu": '{"slope": 2, "é": null}', "time": "[]"}


def test_usage_is_replaced_tenant_by_tenant(store: Store) -> None:
    acme, other = Usage("acme", 12.5, EPOCH_START), Usage("other", 1e-9, EPOCH_START)
    store.put_usage([acme, other])
    store.put_usage([])
    newer = replace(acme, worker_seconds=0.1 + 0.2)
    store.put_usage(iter([newer]))
    assert store.usage() == {"acme": newer, "other": other}


def test_forecasts_are_replaced_and_dropped_job_by_job(store: Store) -> None:
    waits = Forecast("ftjob-b", EPOCH_START, 1, "needs 3.1 GB", 5.0, 9.0, 4.0, 8.0)
    trains = Forecast("ftjob-a", EPOCH_START, finishes_at=7.0)
    store.put_forecasts([waits, trains])
    store.put_forecasts([])
    assert store.forecasts(["ftjob-b", "ftjob-none", "ftjob-a"]) == [waits, None, trains]
    assert store.forecasts([]) == []
    assert store.all_forecasts() == [trains, waits]
    later = replace(waits, made_at=EPOCH_START + 5)
    store.put_forecasts(iter([later]))
    store.drop_forecasts([])
    store.drop_forecasts(iter(["ftjob-a", "ftjob-none"]))
    assert store.all_forecasts() == [later]


def test_a_job_comes_with_its_forecast(store: Store) -> None:
    waits, new = store.create_job(make_job("ftjob-a")), store.create_job(make_job("ftjob-b"))
    forecast = Forecast(waits.id, EPOCH_START, 1, "first in line", 10.0, 20.0)
    store.put_forecasts([forecast])
    assert store.foreseen_job(waits.id) == (waits, forecast)
    assert store.foreseen_job(new.id) == (new, None)
    with pytest.raises(NotFound, match="ftjob-none"):
        store.foreseen_job("ftjob-none")
