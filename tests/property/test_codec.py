"""What is encoded decodes to the same value."""

import json
from dataclasses import replace

from factories import make_worker
from hypothesis import given
from hypothesis import strategies as st
from strategies import events, finite, jobs, names

from pando_shared.codec import decode, encode
from pando_shared.jobs import Job
from pando_shared.records import Event
from pando_shared.webhooks import Delivery
from pando_shared.workers import Assignment, Round, SampleRequest, Worker

rounds = st.builds(
    Round,
    names,
    names,
    names,
    names,
    st.lists(st.builds(Assignment, names, st.integers(0, 9)), max_size=3).map(tuple),
    finite,
    st.integers(0, 1 << 50),
    finite,
    st.none() | finite,
)
requests = st.builds(
    SampleRequest,
    id=names,
    base_model=names,
    adapter_path=st.none() | names,
    prompt=st.none() | st.text(),
    messages=st.lists(st.tuples(names, st.text()), max_size=3).map(tuple),
    max_tokens=st.integers(1, 99),
    temperature=finite,
    top_p=finite,
    seed=st.none() | st.integers(0, 99),
    stop=st.lists(st.text(), max_size=2).map(tuple),
)


@given(jobs)
def test_a_job_survives(job: Job) -> None:
    assert decode(Job, encode(job)) == job


@given(events)
def test_an_event_survives_with_the_kinds_of_its_figures(event: Event) -> None:
    copy = decode(Event, encode(event))
    assert copy == event
    assert [type(v) for v in copy.data.values()] == [type(v) for v in event.data.values()]


@given(rounds)
def test_a_round_survives(planned: Round) -> None:
    assert decode(Round, encode(planned)) == planned


@given(jobs)
def test_a_job_of_before_there_was_host_memory_is_read(job: Job) -> None:
    record = json.loads(encode(job))
    del record["predicted_host_bytes"]
    assert decode(Job, json.dumps(record)) == replace(job, predicted_host_bytes=None)


@given(jobs)
def test_a_job_of_before_there_were_traces_is_read(job: Job) -> None:
    record = json.loads(encode(job))
    del record["traceparent"]
    assert decode(Job, json.dumps(record)) == replace(job, traceparent=None)


def test_a_delivery_of_before_there_were_traces_is_read() -> None:
    delivery = Delivery("evt_1", "acme", "whep_1", "e", "ftjob-1", 1.0, 2, traceparent="00-1-1-01")
    assert decode(Delivery, encode(delivery)) == delivery
    record = json.loads(encode(delivery))
    del record["traceparent"]
    assert decode(Delivery, json.dumps(record)) == replace(delivery, traceparent=None)


def test_a_worker_of_before_there_was_host_memory_is_read() -> None:
    worker = make_worker(device="cuda:0", host_budget_bytes=9, rows_on_disk=True)
    assert decode(Worker, encode(worker)) == worker
    record = json.loads(encode(worker))
    del record["host_budget_bytes"], record["rows_on_disk"]
    told = decode(Worker, json.dumps(record))
    assert told == replace(worker, host_budget_bytes=None, rows_on_disk=False)


@given(requests)
def test_a_sample_request_survives(request: SampleRequest) -> None:
    assert decode(SampleRequest, encode(request)) == request
