"""A child learns from its cgroup's count that the one before it was killed for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import make_worker

from pando_shared.clock import FakeClock
from pando_shared.store.stub import StubStore
from pando_worker.oom_kills import Cgroups, OomKills, note_killed

EVENTS = "low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
LAYOUTS = {
    "version 2, a service": ("0::/system.slice/pando.service", EVENTS, "{0}/memory.events"),
    "version 2, a container": ("0::/", EVENTS, "memory.events"),
    "version 1, a service": ("7:memory:/pando\n3:cpu:/", CONTROL, "memory/pando/{1}"),
    "version 1, a container": ("4:cpu,memory:/docker/0af3", CONTROL, "memory/{1}"),
}


@pytest.mark.parametrize(("group", "text", "where"), LAYOUTS.values(), ids=LAYOUTS)
def test_each_kill_is_told_to_the_child_that_comes_after(
    tmp_path: Path, group: str, text: str, where: str
) -> None:
    of_process, mount = tmp_path / "cgroup", tmp_path / "mount"
    of_process.write_text(group + "\n")
    file = mount / where.format("system.slice/pando.service", "memory.oom_control")
    file.parent.mkdir(parents=True)
    file.write_text(text.format(4))  # of earlier days
    kills = OomKills(Cgroups(mount, of_process))
    assert not kills.was_killed()
    file.write_text(text.format(5))
    assert kills.was_killed()
    assert not kills.was_killed()


def test_where_no_count_is_told_nobody_was_killed(tmp_path: Path) -> None:
    kills = OomKills(Cgroups(tmp_path, tmp_path / "cgroup"))
    assert not kills.was_killed()
    (tmp_path / "cgroup").write_text("0::/\n7:memory:/\n")
    assert not kills.was_killed()


def test_the_scheduler_hears_which_process_was_killed() -> None:
    store = StubStore(FakeClock())
    for worker_id in ("w1", "w2"):
        store.put_worker(make_worker(worker_id))
    incarnation = note_killed(store, "w2")
    first, second = store.list_workers()
    assert (first.killed_for_memory, second.killed_for_memory) == (None, second.incarnation)
    assert incarnation == second.incarnation


def test_a_worker_that_nobody_knows_is_none_to_tell_of() -> None:
    assert note_killed(StubStore(FakeClock()), "w1") is None
