"""What holds for every queue and budget."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pando_worker.engine.packing import Pending, pack, settle

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=8).map(tuple)
queues = st.lists(
    st.builds(Pending, st.uuids().map(str), lengths, st.integers(0, 1000)),
    max_size=8,
    unique_by=lambda job: job.job_id,
)
budgets = st.integers(1, 400)


@given(queues, budgets)
def test_it_stays_within_the_budget_except_for_a_lone_sequence(queue, budget):
    taken = pack(queue, budget)
    total = sum(sum(job.lengths[: taken.get(job.job_id, 0)]) for job in queue)
    assert total <= budget or sum(taken.values()) == 1


@given(queues, budgets)
def test_work_is_never_left_undone(queue, budget):
    taken = pack(queue, budget)
    assert bool(taken) is bool(queue)
    by_id = {job.job_id: job for job in queue}
    for job_id, count in taken.items():
        assert 1 <= count <= len(by_id[job_id].lengths)


@given(queues, budgets)
def test_the_least_served_is_always_first(queue, budget):
    order = sorted(queue, key=lambda job: (job.served_tokens, job.job_id))
    taken = list(pack(queue, budget))
    assert taken[:1] == [job.job_id for job in order[:1]]
    places = [[job.job_id for job in order].index(job_id) for job_id in taken]
    assert places == sorted(places)


@given(queues, budgets, st.randoms())
def test_the_order_of_the_queue_does_not_matter(queue, budget, random):
    shuffled = list(queue)
    random.shuffle(shuffled)
    assert list(pack(shuffled, budget).items()) == list(pack(queue, budget).items())


@given(queues, budgets)
def test_no_room_is_left_that_a_next_sequence_would_fit(queue, budget):
    taken = pack(queue, budget)
    room = budget - sum(sum(job.lengths[: taken.get(job.job_id, 0)]) for job in queue)
    for job in queue:
        rest = job.lengths[taken.get(job.job_id, 0) :]
        assert not rest or rest[0] > room


class Simulation:
    """Jobs with endless optimizer steps of one batch each, packed over and over."""

    def __init__(self, budget: int):
        self.budget = budget
        self.batches: dict[str, tuple[int, ...]] = {}
        self.pending: dict[str, tuple[int, ...]] = {}
        self.served: dict[str, int] = {}
        self.trained: dict[str, int] = {}

    def join(self, batch: tuple[int, ...]) -> str:
        name = f"j{len(self.batches)}"
        self.served[name] = min(self.served.values(), default=0)
        self.batches[name] = self.pending[name] = batch
        self.trained[name] = 0
        return name

    def step(self) -> list[str]:
        queue = [Pending(name, rest, self.served[name]) for name, rest in self.pending.items()]
        taken = pack(queue, self.budget)
        for name, count in taken.items():
            tokens = sum(self.pending[name][:count])
            self.served[name] += tokens
            self.trained[name] += tokens
            self.pending[name] = self.pending[name][count:]
        waiting = {name for name, rest in self.pending.items() if rest}
        self.served = settle(self.served, waiting, self.budget)
        for name in self.batches.keys() - waiting:
            self.pending[name] = self.batches[name]
        return list(taken)


sequences = st.integers(5, 40)
crowds = st.lists(st.lists(sequences, min_size=1, max_size=8).map(tuple), min_size=2, max_size=5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(sequences, st.integers(20, 60)), min_size=2, max_size=2),
    st.integers(40, 200),
)
def test_two_busy_jobs_are_served_alike(jobs, budget):
    """Two that always want more than a microbatch drift no further apart than three of them.

    Of more jobs, the ones with short sequences get what the others leave over on top.
    """
    simulation = Simulation(budget)
    for length, more in jobs:
        simulation.join((length,) * (budget // length + more))
    for _ in range(150):
        simulation.step()
        trained = simulation.trained.values()
        assert max(trained) - min(trained) <= 3 * budget


@settings(max_examples=40, deadline=None)
@given(crowds, crowds, st.integers(40, 300))
def test_nobody_starves_whatever_came_before(early, late, budget):
    """A job waits until each other has used up two microbatches of arrears and a turn, at most."""
    simulation = Simulation(budget)
    for batch in early:
        simulation.join(batch)
    for _ in range(60):
        simulation.step()
    for batch in late:
        simulation.join(batch)
    shortest = min(min(batch) for batch in simulation.batches.values())
    patience = len(simulation.batches) * (3 * budget // shortest + 1)
    waited = dict.fromkeys(simulation.batches, 0)
    for _ in range(150):
        taken = simulation.step()
        waited = {name: 0 if name in taken else n + 1 for name, n in waited.items()}
        assert max(waited.values()) <= patience
