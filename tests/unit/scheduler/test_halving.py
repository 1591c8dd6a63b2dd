"""Who stops at a rung, who waits there, and who goes on."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from sweep_trials import make_trial

from pando_scheduler.halving import (
    STOPPED,
    ParkTrial,
    StopTrial,
    halve,
    held_back,
    parked,
    stopped,
)
from pando_shared.errors import Conflict, StaleEpoch
from pando_shared.jobs import HalvingRule, Job, JobState, Lease, Yield, YieldCause
from pando_shared.rungs import WORST_LOSS, rung_steps

NOW = 1_700_000_100.0
QUEUED, RUNNING, PAUSED = JobState.QUEUED, JobState.RUNNING, JobState.PAUSED
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


def stops(group: list[Job]) -> set[str]:
    return {found.job_id for found in halve(group) if isinstance(found, StopTrial)}


def parks(group: list[Job]) -> list[str]:
    return [found.job_id for found in halve(group) if isinstance(found, ParkTrial)]


def carried_out(group: list[Job], only: set[str] | None = None) -> list[Job]:
    """The group after its stops, or some of them."""
    found = {d.job_id: d for d in halve(group) if isinstance(d, StopTrial)}
    chosen = {k: d for k, d in found.items() if only is None or k in only}
    return [stopped(job, chosen[job.id], NOW).job if job.id in chosen else job for job in group]


@pytest.mark.parametrize(
    ("total", "rule", "steps"),
    [
        (90, HalvingRule(3, 2), (10, 30)),
        (100, HalvingRule(3, 2), (12, 34)),
        (100, HalvingRule(2, 3), (13, 25, 50)),
        (5, HalvingRule(4, 3), (1, 2)),
        (3, HalvingRule(3, 3), (1,)),
        (2, HalvingRule(2, 1), (1,)),
        (1, HalvingRule(2, 2), ()),
        (0, HalvingRule(2, 2), ()),
    ],
)
def test_rungs_by_hand(total: int, rule: HalvingRule, steps: tuple[int, ...]) -> None:
    assert rung_steps(total, rule) == steps


def test_the_best_third_goes_on() -> None:
    group = [make_trial(f"t{i}", 3.0 - i / 10) for i in range(9)]
    assert stops(group) == {f"t{i}" for i in range(6)}
    random.Random(1).shuffle(group)
    assert stops(group) == {f"t{i}" for i in range(6)}


def test_a_rung_waits_for_all_who_race() -> None:
    group = [make_trial(f"t{i}", 2.0 + i) for i in range(8)]
    assert halve([*group, make_trial("t8")]) == []
    assert halve([*group, make_trial("t8", state=JobState.VALIDATING, total=0)]) == []
    for state in (FAILED, CANCELLED, PAUSED):
        assert len(stops([*group, make_trial("t8", state=state)])) == 8 - 3


def test_who_dropped_out_takes_nobodys_place() -> None:
    group = [make_trial("best", 1.0, state=FAILED), make_trial("a", 2.0), make_trial("b", 3.0)]
    assert stops(group) == {"b"}


@pytest.mark.parametrize("worst", [math.nan, math.inf, WORST_LOSS])
def test_no_number_is_the_worst_and_ties_go_by_id(worst: float) -> None:
    group = [make_trial("a", worst), make_trial("b", 2.0), make_trial("c", 2.0)]
    assert stops(group) == {"a", "c"}


def test_the_reason_has_the_figures() -> None:
    group = [make_trial(f"t{i}", 2.113 + i / 1000) for i in range(9)]
    reasons = {found.job_id: found.reason for found in halve(group)}
    assert reasons["t3"] == (
        "Stopped by successive halving at step 10: validation loss 2.116, the best 3 of 9 go on"
    )


def test_rungs_follow_each_other() -> None:
    group = carried_out([make_trial(f"t{i}", 2.0 + i) for i in range(9)])
    assert halve(group) == []
    onward = {"t0": 1.9, "t1": 1.8, "t2": 1.7}
    group = [make_trial(job.id, 2.0, onward[job.id]) if job.id in onward else job for job in group]
    found = [decision for decision in halve(group) if isinstance(decision, StopTrial)]
    assert {decision.job_id for decision in found} == {"t0", "t1"}
    assert {decision.rung for decision in found} == {2}
    assert "step 30" in found[0].reason


def test_both_rungs_are_decided_at_once_where_trials_ran_ahead() -> None:
    """The second one only counts those whom the first one lets go on."""
    group = [make_trial(f"t{i}", 2.0 + i, 9.0 - i) for i in range(9)]
    found = {d.job_id: d.rung for d in halve(group) if isinstance(d, StopTrial)}
    assert found == {f"t{i}": 1 for i in range(3, 9)} | {"t0": 2, "t1": 2}


def test_a_half_done_decision_is_finished() -> None:
    group = [make_trial(f"t{i}", 2.0 + i) for i in range(9)]
    for done in ({"t8"}, {"t3"}, {"t4", "t6"}):
        assert stops(carried_out(group, done)) == {f"t{i}" for i in range(3, 9)} - done


@pytest.mark.parametrize("gone", ["t0", "t2", "t5"])
@pytest.mark.parametrize("state", [FAILED, CANCELLED, PAUSED])
def test_a_drop_out_after_the_decision_changes_nothing(gone: str, state: JobState) -> None:
    """Not even while it is half carried out: ten trials keep four, nine would keep three."""
    group = [make_trial(f"t{i}", 2.0 + i) for i in range(10)]
    group = carried_out(group, {"t9"})
    group = [replace(job, state=state) if job.id == gone else job for job in group]
    assert stops(group) == {f"t{i}" for i in range(4, 9)} - {gone}


def test_who_comes_late_is_judged_by_the_line() -> None:
    group = [make_trial(f"t{i}", 2.0 + i) for i in range(6)]
    group = carried_out([*group, make_trial("late", state=PAUSED)])
    standing = [job for job in group if job.id != "late"]
    assert halve([*standing, make_trial("late")]) == []
    assert halve([*standing, make_trial("late", 2.5)]) == []
    (found,) = halve([*standing, make_trial("late", 3.5)])
    assert isinstance(found, StopTrial)
    assert "validation loss 3.500, the last to go on had 3.000" in found.reason


def test_one_that_succeeded_is_judged_and_kept() -> None:
    early = make_trial("early", state=SUCCEEDED, valid_loss=9.0)
    group = [early, make_trial("a", 2.0), make_trial("b", 3.0)]
    assert stops(group) == {"b"}
    better = make_trial("early", state=SUCCEEDED, valid_loss=1.0)
    assert stops([better, *group[1:]]) == {"a", "b"}


def test_short_trials_meet_long_ones_at_the_same_share() -> None:
    """27 steps have rungs 1, 3, 9; 9 steps 1, 3: at 1/27 both are judged after their first."""
    rule = HalvingRule(3, 3)
    long = [make_trial("a", 2.0, rule=rule, total=27), make_trial("b", 3.0, rule=rule, total=27)]
    short = make_trial("c", 1.0, rule=rule, total=9)
    group = carried_out([*long, short])
    assert {job.id for job in group if job.state is CANCELLED} == {"a", "b"}
    long = [make_trial("a", 2.0, 1.5, rule=rule, total=27)]
    assert halve([*long, make_trial("c", 3.0, rule=rule, total=9)]) != []


def test_a_single_step_has_no_rung() -> None:
    assert halve([make_trial("a", total=1), make_trial("b", total=1)]) == []


def test_a_group_without_a_rule_is_left_alone() -> None:
    group = [make_trial("a", 2.0, rule=None), make_trial("b", 3.0, rule=None)]
    assert halve(group) == []
    assert held_back(group) == {}
    assert halve([]) == []


def test_waiting_at_a_rung_gives_way_to_those_in_the_queue() -> None:
    group = [make_trial("a", 2.0), make_trial("b", 4.0), make_trial("c", 3.0), make_trial("d")]
    assert parks(group) == []
    queue = [make_trial("e", state=QUEUED)]
    assert parks(group + queue) == ["b"]
    queue.append(make_trial("f", state=QUEUED))
    assert parks(group + queue) == ["b", "c"]
    assert parks([*group, make_trial("e", 5.0, state=QUEUED)]) == []
    leaving = replace(group[1], yielding=Yield(YieldCause.RUNG, "waits"))
    assert parks([group[0], leaving, *group[2:], *queue]) == ["c"]


def test_who_waits_at_a_rung_is_held_back() -> None:
    waiting = make_trial("a", 2.0, state=QUEUED)
    behind = make_trial("b", state=QUEUED)
    group = [waiting, behind, make_trial("c", 3.0)]
    assert held_back(group)[waiting.id] == "waits for rung 1 of its sweep: 2 of 3 trials are there"
    assert behind.id not in held_back(group)
    assert held_back(group).keys() == {"a"}
    decided = [waiting, make_trial("b", 4.0, state=QUEUED), group[2]]
    assert held_back(decided) == {"b": "lost at rung 1 of its sweep"}


def test_a_stopped_trial_is_cancelled_and_says_why() -> None:
    lease = Lease("w1", "first", NOW + 9)
    group = [make_trial("a", 2.0), make_trial("b", 3.0, lease=lease, epoch=4)]
    (decision,) = halve(group)
    assert isinstance(decision, StopTrial)
    change = stopped(group[1], decision, NOW)
    assert (change.job.state, change.job.epoch, change.job.lease) == (CANCELLED, 5, None)
    assert change.job.finished_at == NOW
    assert change.job.error is not None
    assert change.job.error.code == STOPPED
    assert [event.message for event in change.events] == [
        "Stopped by successive halving at step 10: validation loss 3.000, the best 1 of 2 go on"
    ]
    for other in (replace(group[1], epoch=5), replace(group[1], state=SUCCEEDED)):
        with pytest.raises(StaleEpoch):
            stopped(other, decision, NOW)
    with pytest.raises(Conflict, match="paused"):
        stopped(replace(group[1], state=PAUSED), decision, NOW)


def test_a_parked_trial_leaves_its_worker_once() -> None:
    group = [make_trial("a", 2.0, epoch=3), make_trial("b", state=QUEUED)]
    (decision,) = halve(group)
    assert isinstance(decision, ParkTrial)
    change = parked(group[0], decision, NOW)
    assert change.job.yielding == Yield(YieldCause.RUNG, decision.reason)
    assert (change.job.state, change.job.epoch) == (RUNNING, 3)
    assert "1 of 2 trials are there" in change.events[0].message
    already = replace(group[0], yielding=Yield(YieldCause.DRAIN, "drain"))
    assert parked(already, decision, NOW).job == already
    with pytest.raises(Conflict):
        parked(replace(group[0], state=QUEUED), decision, NOW)
    with pytest.raises(StaleEpoch):
        parked(replace(group[0], epoch=4), decision, NOW)
