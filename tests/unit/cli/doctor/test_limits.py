from __future__ import annotations

import resource

import pytest

from pando_cli.doctor.disk import Room
from pando_cli.doctor.finding import Status
from pando_cli.doctor.limits import limits, open_files, shared_memory

MIB = 1 << 20


@pytest.mark.parametrize(
    ("free", "status"),
    [
        (1024 * MIB, Status.OK),
        (64 * MIB, Status.OK),
        (63 * MIB, Status.WARN),
        (MIB, Status.WARN),
        (MIB - 1, Status.FAIL),
    ],
)
def test_shared_memory(free: int, status: Status) -> None:
    assert shared_memory(Room(free, 1024 * MIB)).status is status


def test_a_system_without_it() -> None:
    assert shared_memory(None).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("soft", "status"),
    [
        (None, Status.OK),
        (1024, Status.OK),
        (1023, Status.WARN),
        (256, Status.WARN),
        (255, Status.FAIL),
    ],
)
def test_open_files(soft: int | None, status: Status) -> None:
    assert open_files(soft).status is status


def test_they_are_this_process_own(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert str(soft) in limits()[1].found
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (unlimited, unlimited))
    assert limits()[1].found == "no limit"
