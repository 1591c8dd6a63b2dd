"""Arrivals of the Philly trace, from files small enough to read by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.lengths import LengthMix
from pando_scheduler.simulation.philly import philly_arrivals, read_philly
from pando_shared.errors import InvalidRequest

HEADER = "timestamp,duration,num_gpus,gpu_time,cluster\n"
WEEK = date(2017, 10, 9)
ROWS = """\
2017-10-09 07:01:55,66.0,1,66.0,11cb48
2017-10-09 00:00:00,2951.0,1,2951.0,6214e9
2017-10-08 23:59:59,10.0,1,10.0,6214e9
2017-10-15 23:59:59,860662.0,1,860662.0,6c71a0
2017-10-16 00:00:00,10.0,1,10.0,6214e9
2017-10-10 06:13:36,2759.0,8,22072.0,6214e9

"""


def trace(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "philly.csv"
    path.write_text(header + rows)
    return path


def many(folder: Path, count: int = 1000) -> Path:
    return trace(folder, "".join(f"2017-10-09 00:00:{i % 60:02},60,1,60,t\n" for i in range(count)))


def speed(step_tokens: float, method: str) -> float:
    return step_tokens * (3.0 if method == "meft" else 2.0)


def arrivals(path: Path, **changes: object) -> list[Arrival]:
    arguments: dict[str, object] = {
        "week": WEEK,
        "thin": 1.0,
        "seed": 1,
        "bases": ("small", "large"),
        "lengths": LengthMix((100, 200)),
        "speed_alone": speed,
    }
    return philly_arrivals(path, **(arguments | changes))  # type: ignore[arg-type]


def seconds(jobs: Sequence[Arrival]) -> list[float]:
    return [job.tokens / speed(job.step_tokens, job.adapter.type) for job in jobs]


def test_jobs_of_one_gpu_within_the_week_by_time(tmp_path: Path) -> None:
    found = arrivals(trace(tmp_path, ROWS))
    assert [job.at for job in found] == [0, 7 * 3600 + 115, 7 * 86400 - 1]
    assert [job.tenant for job in found] == ["6214e9", "11cb48", "6c71a0"]
    assert len({job.id for job in found}) == 3


def test_a_job_alone_takes_its_duration_in_the_trace_but_no_longer_than_allowed(
    tmp_path: Path,
) -> None:
    path = trace(tmp_path, ROWS)
    assert seconds(arrivals(path)) == pytest.approx([2951, 66, 86400])
    assert seconds(arrivals(path, longest_hours=0.5)) == pytest.approx([1800, 66, 1800])


def test_fewer_days(tmp_path: Path) -> None:
    assert len(arrivals(trace(tmp_path, ROWS), days=6)) == 2


def test_thinning_keeps_about_its_share_and_the_smaller_share_is_within_the_greater(
    tmp_path: Path,
) -> None:
    path = many(tmp_path)
    few, more = arrivals(path, thin=0.1), arrivals(path, thin=0.3)
    # Five standard deviations of a binomial distribution.
    assert abs(len(few) - 100) < 5 * (1000 * 0.1 * 0.9) ** 0.5
    assert abs(len(more) - 300) < 5 * (1000 * 0.3 * 0.7) ** 0.5
    assert set(few) <= set(more)


def test_a_seed_repeats_itself_and_another_keeps_and_draws_differently(tmp_path: Path) -> None:
    path = many(tmp_path)
    assert arrivals(path) == arrivals(path)
    one, two = arrivals(path, thin=0.5), arrivals(path, thin=0.5, seed=2)
    assert {job.id for job in one} != {job.id for job in two}
    assert arrivals(path, seed=1)[0] != arrivals(path, seed=2)[0]


def test_noise_changes_nothing_but_the_errors(tmp_path: Path) -> None:
    path = many(tmp_path, 50)
    silent = arrivals(path, time_sigma=0.0, memory_sigma=0.0)
    assert {(job.time_error, job.memory_error) for job in silent} == {(1.0, 1.0)}
    noisy = arrivals(path)
    assert [replace(job, time_error=1.0, memory_error=1.0) for job in noisy] == silent


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("2017-10-09,66,1,66,a", "timestamp must be YYYY-MM-DD HH:MM:SS, got '2017-10-09'"),
        ("2017-13-09 00:00:00,66,1,66,a", "timestamp must be a time that exists"),
        ("2017-10-09 00:00:00,long,1,66,a", "duration must be seconds, more than 0, got 'long'"),
        ("2017-10-09 00:00:00,0,1,66,a", "duration"),
        ("2017-10-09 00:00:00,nan,1,66,a", "duration"),
        ("2017-10-09 00:00:00,inf,1,66,a", "duration"),
        ("2017-10-09 00:00:00,66,1.5,66,a", "num_gpus must be a whole number"),
        ("2017-10-09 00:00:00,66,0,66,a", "num_gpus"),
        ("2017-10-09 00:00:00,66,1,66,", "cluster"),
        ("2017-10-09 00:00:00,66", "num_gpus"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, says: str) -> None:
    path = trace(tmp_path, f"2017-10-09 00:00:00,66,1,66,a\n{row}\n")
    with pytest.raises(InvalidRequest) as refused:
        arrivals(path)
    assert refused.value.message.startswith(f"{path}: line 3: ")
    assert says in refused.value.message


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = trace(tmp_path, "", header="timestamp,duration,cluster\n")
    with pytest.raises(InvalidRequest, match=r"philly\.csv: line 1 has no column num_gpus"):
        list(read_philly(path))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
def test_a_file_that_is_no_trace_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "odd.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"odd\.csv"):
        list(read_philly(path))


def test_a_week_without_jobs_says_how_far_the_trace_reaches(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="reaches from 2017-10-08 23:59:59 to 2017-10-16"):
        arrivals(trace(tmp_path, ROWS), week=date(2018, 1, 1))


@pytest.mark.parametrize(
    "change",
    [
        {"thin": 0.0},
        {"thin": 1.1},
        {"days": 0},
        {"bases": ()},
        {"longest_hours": 0.0},
        {"time_sigma": -0.1},
        {"memory_sigma": float("nan")},
    ],
)
def test_arguments_out_of_range(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        arrivals(trace(tmp_path, ROWS), **change)
