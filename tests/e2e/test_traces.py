"""One job's whole way, from its client's request to its webhook, is one trace in a collector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from local_stack import LocalStack, eventually
from stack_jobs import StackJobs
from trace_collector import Collector, SentSpan, collecting
from webhook_receiver import receiving

pytestmark = pytest.mark.e2e

DATA = Path(__file__).resolve().parents[2] / "examples" / "demo" / "pirate.jsonl"
TRACES = ("4bf92f3577b34da6a3ce929d0e0e4736", "5cf92f3577b34da6a3ce929d0e0e4736")

SAMPLES_TRACE = "6df92f3577b34da6a3ce929d0e0e4736"
PROMPT = "hunter2hunter2"


@dataclass(frozen=True)
class Traced:
    """What a stack, which has ended by now, has sent, and the two jobs that it trained."""

    collector: Collector
    stack: LocalStack
    job_ids: list[str]

    def of(self, trace_id: str) -> list[SentSpan]:
        return [span for span in self.collector.spans if span.trace_id == trace_id]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with collecting() as collector, receiving() as receiver:
        environment = {
            "PANDO_OTLP_ENDPOINT": collector.url,
            # No batch is due before the end: what arrives has been flushed there.
            "OTEL_BSP_SCHEDULE_DELAY": "3600000",
            "PANDO_LOG_FORMAT": "json",
            "PANDO_ROUND_SECONDS": "2",
            "PANDO_CHECKPOINT_SECONDS": "1",
            "PANDO_WEBHOOK_ALLOW": "127.0.0.1/32",
        }
        home = tmp_path_factory.mktemp("traced") / "home"
        stack = LocalStack(home, environment=environment)
        with stack.running():
            jobs = StackJobs(stack, DATA)
            jobs.client.post(
                "/webhook_endpoints",
                body={
                    "name": "mine",
                    "url": receiver.url,
                    "event_types": ["fine_tuning.job.succeeded"],
                },
                cast_to=object,
            )
            job_ids = [
                jobs.client.fine_tuning.jobs.create(
                    model="tiny",
                    training_file=jobs.file_id,
                    extra_headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
                    extra_body={"adapter": {"type": "lora"}},
                ).id
                for trace in TRACES
            ]
            for job_id in job_ids:
                jobs.succeed(job_id)
            assert eventually(lambda: len(receiver.received) == 2)
            jobs.client.completions.create(
                model="tiny",
                prompt=PROMPT,
                max_tokens=4,
                extra_headers={"traceparent": f"00-{SAMPLES_TRACE}-00f067aa0ba902b7-01"},
            )
        yield Traced(collector, stack, job_ids)


@pytest.mark.parametrize("number", [0, 1])
def test_a_jobs_trace_has_it_all(traced: Traced, number: int) -> None:
    spans = traced.of(TRACES[number])
    found = {(span.service, span.name) for span in spans}
    assert {
        ("pando-api", "POST /v1/fine_tuning/jobs"),
        ("pando-prepare", "prepare job"),
        ("pando-scheduler", "place job"),
        ("pando-worker", "seat job"),
        ("pando-worker", "train job"),
        ("pando-worker", "write checkpoint"),
        ("pando-worker", "publish checkpoint"),
        ("pando-worker", "export adapter"),
        ("pando-api", "deliver webhook"),
    } <= found
    (request,) = [span for span in spans if span.name.startswith("POST")]
    assert request.parent_id == "00f067aa0ba902b7"
    assert {span.parent_id for span in spans if span is not request} == {request.span_id}
    assert not any(span.failed for span in spans)
    assert {span.attributes["job_id"] for span in spans} == {traced.job_ids[number]}
    assert len({span.attributes["tenant"] for span in spans}) == 1
    on_workers = [span for span in spans if span.service == "pando-worker"]
    assert len({span.attributes["worker_id"] for span in on_workers}) == 1


def test_a_round_is_linked_to_the_jobs_it_trained(traced: Traced) -> None:
    rounds = traced.collector.named("run round")
    assert set().union(*(span.links for span in rounds)) == set(TRACES)
    planned = {span.span_id: span for span in traced.collector.named("plan round")}
    assert {span.parent_id for span in rounds} <= planned.keys()
    for span in rounds:
        plan = planned[span.parent_id]
        assert (plan.service, span.service) == ("pando-scheduler", "pando-worker")
        assert plan.attributes["round_id"] == span.attributes["round_id"]
        assert plan.attributes["worker_id"] == span.attributes["worker_id"]
    for span in traced.collector.named("train job"):
        assert span.links <= {around.trace_id for around in rounds}


def test_text_is_generated_in_its_requests_trace(traced: Traced) -> None:
    (request,) = [span for span in traced.of(SAMPLES_TRACE) if span.service == "pando-api"]
    (generated,) = [span for span in traced.of(SAMPLES_TRACE) if span is not request]
    assert (generated.service, generated.name) == ("pando-worker", "generate text")
    assert (request.name, generated.parent_id) == ("POST /v1/completions", request.span_id)


def traced_lines(traced: Traced, service: str) -> list[dict[str, str]]:
    """The lines that a service logged while a span was current."""
    lines = map(json.loads, traced.stack.log(service).splitlines())
    return [line for line in lines if "trace_id" in line]


def test_log_lines_name_their_trace(traced: Traced) -> None:
    about_jobs = {
        line["job_id"]: line["trace_id"]
        for line in traced_lines(traced, "api")
        if "job_id" in line and line.get("method") == "POST"
    }
    assert about_jobs == dict(zip(traced.job_ids, TRACES, strict=True))
    planned = {span.trace_id for span in traced.collector.named("plan round")}
    placed = [line for line in traced_lines(traced, "scheduler") if "round_id" in line]
    assert placed
    assert {line["trace_id"] for line in placed} <= planned


def test_nothing_of_a_users_is_sent(traced: Traced) -> None:
    sent = b"".join(traced.collector.bodies)
    record = json.loads((traced.stack.home / "stack.json").read_text())
    words = [json.loads(line)["messages"][-1]["content"] for line in DATA.read_text().splitlines()]
    assert words
    for secret in (*words, PROMPT, DATA.name, traced.stack.up["api_key"]):
        assert secret.encode() not in sent
    password = record["environment"]["PANDO_REDIS_URL"].split(":")[2].split("@")[0]
    assert password.encode() not in sent
