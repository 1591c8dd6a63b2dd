"""Which sequences the next microbatch takes."""

from __future__ import annotations

from pando_worker.engine.packing import Pending, pack, settle


def taken(token_budget, *jobs):
    queue = [Pending(name, lengths, served) for name, lengths, served in jobs]
    return list(pack(queue, token_budget).items())


def test_the_least_served_goes_first_and_gives_all_it_can():
    jobs = ("a", (10, 10), 50), ("b", (10, 10, 10), 20), ("c", (10,), 40)
    assert taken(100, *jobs) == [("b", 3), ("c", 1), ("a", 2)]
    assert taken(30, *jobs) == [("b", 3)]
    assert taken(45, *jobs) == [("b", 3), ("c", 1)]


def test_equally_served_jobs_go_by_name():
    assert taken(20, ("b", (10,), 0), ("a", (10,), 0)) == [("a", 1), ("b", 1)]


def test_a_sequence_that_does_not_fit_waits_and_lets_others_fill_the_room():
    assert taken(25, ("a", (20, 20), 0), ("b", (5,), 9)) == [("a", 1), ("b", 1)]


def test_a_sequence_longer_than_the_budget_travels_alone():
    assert taken(16, ("a", (40, 1), 0), ("b", (1,), 5)) == [("a", 1)]
    assert taken(16, ("b", (1,), 0), ("a", (40, 1), 5)) == [("b", 1)]


def test_nothing_to_do():
    assert taken(16) == []


def test_who_waits_keeps_its_claim_and_who_is_satisfied_keeps_a_little():
    served = {"small": 50, "large": 9000, "waits": 4000, "waits-too": 5000}
    settled = settle(served, {"waits", "waits-too"}, token_budget=100)
    assert settled == {"small": 3800, "large": 9000, "waits": 4000, "waits-too": 5000}


def test_when_nobody_waits_all_old_claims_lapse():
    assert settle({"a": 50, "b": 9000}, set(), token_budget=100) == {"a": 8800, "b": 9000}
    assert settle({"a": 8950, "b": 9000}, set(), token_budget=100) == {"a": 8950, "b": 9000}
    assert settle({}, set(), token_budget=100) == {}
