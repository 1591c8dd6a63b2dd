"""The state machine, over all walks."""

import pytest
from factories import make_job
from hypothesis import given
from hypothesis import strategies as st

from pando_shared.errors import IllegalTransition, StaleEpoch
from pando_shared.jobs import JobState, Lease

#: Written out anew from the protocol's states, not taken from the code.
LEGAL = {
    "validating_files": {"queued", "failed", "cancelled"},
    "queued": {"running", "paused", "failed", "cancelled"},
    "running": {"queued", "paused", "succeeded", "failed", "cancelled"},
    "paused": {"queued", "failed", "cancelled"},
    "succeeded": set(),
    "failed": set(),
    "cancelled": set(),
}


@given(st.lists(st.sampled_from(JobState), max_size=12))
def test_a_walk_takes_exactly_the_legal_steps(targets: list[JobState]) -> None:
    job = make_job(state=JobState.VALIDATING, lease=Lease("w1", "first", 1.0))
    for target in targets:
        if target.value in LEGAL[job.state.value]:
            moved = job.to(target)
            assert moved.state is target
            assert (moved.lease is None) == (target.terminal or job.lease is None)
            job = moved
        else:
            with pytest.raises(IllegalTransition, match=job.id):
                job.to(target)


@given(st.sampled_from(JobState), st.integers(0, 3), st.integers(0, 3))
def test_only_the_present_epoch_of_a_live_job_writes(
    state: JobState, epoch: int, writer: int
) -> None:
    job = make_job(state=state, epoch=epoch)
    if epoch == writer and LEGAL[state.value]:
        assert job.fenced(writer) is job
    else:
        with pytest.raises(StaleEpoch):
            job.fenced(writer)
