"""Traces on and off: what is sent where, what a dead collector does, and what is missing."""

from __future__ import annotations

import logging
import socket
import time

import pytest
from pydantic import ValidationError
from redis_process import free_port
from trace_collector import collecting

from pando_shared import trace_setup
from pando_shared.settings import Settings
from pando_shared.trace_setup import (
    FLUSH_SECONDS,
    require_trace_packages,
    start_traces,
    stop_traces,
    traces,
)
from pando_shared.tracing import is_tracing, span


def test_without_an_endpoint_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDO_OTLP_ENDPOINT", "")  # as composed environments have it
    with traces(Settings(), "api"):
        assert not is_tracing()


@pytest.mark.parametrize("wrong", ["collector:4318", "http://", "ftp://collector", "http://a b"])
def test_an_endpoint_is_a_url(wrong: str) -> None:
    with pytest.raises(ValidationError, match="http://collector:4318"):
        Settings(otlp_endpoint=wrong)


def test_what_is_left_is_sent_at_the_end_under_the_services_name() -> None:
    with collecting() as collector:
        settings = Settings(otlp_endpoint=f"{collector.url}/")
        with traces(settings, "scheduler"):
            with span("plan round", jobs=2):
                pass
            assert collector.spans == []
        assert not is_tracing()
        (sent,) = collector.spans
    assert (sent.service, sent.name) == ("pando-scheduler", "plan round")


def test_a_worker_names_itself() -> None:
    with collecting() as collector:
        start_traces(Settings(otlp_endpoint=collector.url), "worker", "w1")
        with span("run round"):
            pass
        stop_traces()
        stop_traces()  # once more does nothing
    assert b"w1" in collector.bodies[0]


def test_a_refusing_collector_delays_nothing_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")  # else it tries for 10 s
    endpoint = f"http://127.0.0.1:{free_port()}"
    caplog.set_level(logging.INFO)
    with traces(Settings(otlp_endpoint=endpoint), "api"):
        began = time.monotonic()
        for _ in range(20_000):  # many more than are kept
            with span("request"):
                pass
        # To wait for each of their 39 batches to be given up would take more than a minute.
        assert time.monotonic() - began < 30
        deadline = time.monotonic() + 30
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.05)
    (told,) = caplog.records
    assert (told.name, told.levelname) == ("pando_shared.otel_export", "WARNING")
    assert endpoint in told.getMessage()
    assert "Connection refused" in told.getMessage()


def test_a_silent_collector_keeps_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "120")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with traces(Settings(otlp_endpoint=f"http://127.0.0.1:{port}"), "api"):
            with span("request"):
                pass
            began = time.monotonic()
        assert time.monotonic() - began < FLUSH_SECONDS + 20


def test_what_is_not_installed_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_setup, "_PACKAGES", ("opentelemetry_not_here.sdk",))
    require_trace_packages(Settings())
    wanted = Settings(otlp_endpoint="http://collector:4318")
    for begin in (
        lambda: require_trace_packages(wanted),
        lambda: start_traces(wanted, "api"),
    ):
        with pytest.raises(SystemExit, match="pip install opentelemetry-sdk"):
            begin()
    assert not is_tracing()
