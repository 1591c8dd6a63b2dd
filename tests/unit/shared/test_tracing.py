"""Spans as code makes them: what they hold, what they never hold, and that there may be none."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from recorded_spans import CLIENTS_TRACE, CLIENTS_TRACEPARENT, links_of, recording, trace_of

from pando_shared.errors import InvalidTrainingFile
from pando_shared.log_context import add_to_log_context, log_context
from pando_shared.logs import make_handler
from pando_shared.settings import Settings
from pando_shared.tracing import (
    begin_span,
    continuing,
    current_span,
    current_traceparent,
    is_tracing,
    span,
    trace_ids,
)


def test_without_traces_nothing_happens() -> None:
    assert not is_tracing()
    with span("work", parent=CLIENTS_TRACEPARENT, job_id="j") as done, continuing(None):
        done.set(step=1)
        done.fail("no")
        assert (done.traceparent, current_traceparent(), trace_ids()) == (None, None, {})
    begin_span("more").end()


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["pando_api.main", "pando_scheduler.main", "pando_worker.main"])
def test_without_traces_nothing_of_ours_imports_opentelemetry(module: str) -> None:
    """Where it is installed, redis and fastapi import its interface on their own account."""
    ours = ("opentelemetry.exporter", "pando_shared.otel_export", "pando_shared.otel_tracer")
    assert run(f"import sys, {module}; print(sys.modules.keys() & {set(ours)})") == "set()"


@pytest.mark.parametrize("module", ["pando_scheduler.main", "pando_worker.main"])
def test_without_traces_opentelemetry_need_not_be_installed(module: str) -> None:
    without = "import sys; sys.modules['opentelemetry'] = None"
    work = "from pando_shared.tracing import span\nwith span('work'): print('done')"
    assert run(f"{without}; import {module}\n{work}") == "done"


def test_a_span_is_within_its_parent_and_its_block() -> None:
    with recording() as spans, span("outer") as outer:
        assert is_tracing()
        assert current_traceparent() == outer.traceparent
        with span("inner", kind="client", jobs=3):
            pass
        begun = begin_span("beside", links=[CLIENTS_TRACEPARENT, None])
        assert current_traceparent() == outer.traceparent
        begun.end()
    assert current_traceparent() is None
    assert spans.names() == ["inner", "beside", "outer"]
    inner, beside, around = spans.all()
    assert trace_of(inner) == trace_of(beside) == trace_of(around)
    assert inner.parent is not None
    assert inner.parent.span_id == around.context.span_id
    assert (inner.kind, inner.attributes) == (SpanKind.CLIENT, {"jobs": 3})
    assert links_of(beside) == {CLIENTS_TRACE}
    assert around.parent is None


def test_a_traceparent_is_gone_on_with_and_a_bad_one_begins_a_trace() -> None:
    with recording() as spans:
        with span("told", parent=CLIENTS_TRACEPARENT):
            pass
        with continuing(CLIENTS_TRACEPARENT), span("continued"):
            pass
        with span("around"), span("garbled", parent="00-zz-1-01") as garbled:
            garbled.link("not one")
    assert trace_of(spans.one("told")) == trace_of(spans.one("continued")) == CLIENTS_TRACE
    assert spans.one("garbled").parent is None
    assert links_of(spans.one("garbled")) == set()


def test_a_client_that_does_not_record_is_not_recorded() -> None:
    with recording() as spans, span("request", parent=f"{CLIENTS_TRACEPARENT[:-2]}00"):
        assert str(current_traceparent()).endswith("-00")
    assert spans.names() == []


def test_what_logs_name_is_on_the_span_also_what_is_found_late() -> None:
    with recording() as spans, log_context(request_id="r"), span("request"):
        add_to_log_context(tenant="acme")
        with log_context(job_id="inside"):
            pass
    assert spans.one("request").attributes == {"request_id": "r", "tenant": "acme"}


def test_an_error_is_noted_without_its_words() -> None:
    secret = "line 3: hunter2"
    with recording() as spans:
        with pytest.raises(InvalidTrainingFile), span("prepare"):
            raise InvalidTrainingFile(secret)
        with pytest.raises(ValueError, match="hunter2"), span("other"):
            raise ValueError(secret)
    prepare, other = spans.all()
    assert prepare.attributes == {"error.type": InvalidTrainingFile(secret).code}
    assert other.attributes == {"error.type": "ValueError"}
    for failed in (prepare, other):
        assert failed.status.status_code is StatusCode.ERROR
        (event,) = failed.events
        assert event.attributes is not None
        assert "test_tracing.py" in str(event.attributes["exception.stacktrace"])
        assert "hunter2" not in failed.to_json().replace('raise ValueError("', "")


def test_json_lines_carry_the_ids_while_a_span_is_current() -> None:
    form = make_handler(Settings(log_format="json"), "api")
    record = logging.LogRecord("pando_api", logging.INFO, "", 1, "told", (), None)
    with recording() as spans:
        with span("work"):
            within = json.loads(form.format(record))
        after = json.loads(form.format(record))
    work = spans.one("work")
    assert within["trace_id"] == trace_of(work)
    assert within["span_id"] == f"{work.context.span_id:016x}"
    assert not {"trace_id", "span_id"} & after.keys()


def test_a_span_of_another_thread_is_not_this_ones() -> None:
    seen: list[str | None] = []
    with recording(), span("work"):
        thread = threading.Thread(target=lambda: seen.append(current_traceparent()))
        thread.start()
        thread.join()
        current_span().set(step=1)
    assert seen == [None]
