"""Plans say which job's adapters serve which rows."""

from __future__ import annotations

from numerics import make_lora, make_paca

from pando_kernels.plan import AdapterSet, current_plan, make_plan, planned

LORA, PACA = make_lora(1, (9, 6), 3), make_paca(1, (9, 6), 3)


def test_segments_lie_behind_each_other():
    plan = make_plan([(3, {"q": LORA}), (0, {}), (4, {"q": PACA})], lengths=[2, 1, 4])
    assert plan.layout.starts == (0, 3, 3, 7)
    assert plan.layout.slots == (0, 1, 2)
    assert plan.sequences.lengths == (2, 1, 4)


def test_without_lengths_a_segment_is_a_sequence():
    assert make_plan([(3, {}), (4, {})]).sequences.lengths == (3, 4)


def test_parts_are_the_rows_of_jobs_with_an_adapter_there():
    plan = make_plan([(3, {"q": LORA}), (2, {"o": LORA}), (0, {"q": LORA}), (4, {"q": PACA})])
    assert plan.parts("q") == [(slice(0, 3), LORA), (slice(5, 9), PACA)]
    assert plan.parts("k") == []


def test_a_group_has_a_slot_for_every_job():
    jobs = AdapterSet(({"q": LORA, "v": LORA}, {}, {"k": PACA, "o": LORA}))
    group = jobs.group(("q", "k", "v"), (6, 6, 6), 77)
    assert [slot and slot.members for slot in group.slots] == [
        (LORA, None, LORA),
        None,
        (None, PACA, None),
    ]
    assert (group.widths, group.site) == ((6, 6, 6), 77)


def test_a_group_is_made_once():
    jobs = AdapterSet(({"q": LORA},))
    assert jobs.group(("q",), (6,), 0) is jobs.group(("q",), (6,), 0)


def test_a_group_without_adapters_is_none():
    jobs = AdapterSet(({"q": LORA}, {}))
    assert jobs.group(("k", "v"), (6, 6), 0) is None
    assert not jobs.touches(("k", "v"))
    assert jobs.touches(("k", "q"))


def test_the_current_plan_is_that_of_the_innermost_block():
    outer, inner = make_plan([(1, {})]), make_plan([(2, {})])
    assert current_plan() is None
    with planned(outer):
        with planned(inner):
            assert current_plan() is inner
        assert current_plan() is outer
    assert current_plan() is None
