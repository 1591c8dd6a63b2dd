"""Turning a process's traces on, where `PANDO_OTLP_ENDPOINT` is set, and off again at its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pando_shared.settings import Settings
from pando_shared.tracing import install

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

#: The longest that a process's end waits for its last spans to be sent.
FLUSH_SECONDS = 3.0
_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")

_provider: TracerProvider | None = None


def require_trace_packages(settings: Settings) -> None:
    """Say at once what is missing, rather than in a child process, again and again.

    Raises:
        SystemExit: traces are wanted, and the packages are not installed.
    """
    if settings.otlp_endpoint is not None and not all(map(_is_installed, _PACKAGES)):
        raise SystemExit(
            "PANDO_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: `pip install "
            "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http`, or unset the variable"
        )


def start_traces(settings: Settings, service: str, worker_id: str | None = None) -> None:
    """Have this process's spans recorded, and sent in batches by a thread, if they are wanted.

    Call it in the process whose spans they are: the thread does not come along through a fork.

    Raises:
        SystemExit: the packages are not installed.
    """
    if settings.otlp_endpoint is None:
        return
    require_trace_packages(settings)
    from pando_shared.otel_export import make_provider
    from pando_shared.otel_tracer import OtelTracer

    global _provider
    _provider = make_provider(settings.otlp_endpoint, service, worker_id)
    install(OtelTracer(_provider.get_tracer("pando")))


def stop_traces() -> None:
    """Send what is left, for `FLUSH_SECONDS` at most; from now on nothing is recorded."""
    global _provider
    provider, _provider = _provider, None
    if provider is None:
        return
    install(None)
    # A collector that takes the connection and says nothing must not keep the process.
    last = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
    last.start()
    last.join(FLUSH_SECONDS)


@contextmanager
def traces(settings: Settings, service: str) -> Iterator[None]:
    """Traces, if they are wanted, for as long as the block runs."""
    start_traces(settings, service)
    try:
        yield
    finally:
        stop_traces()


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package around it is
        return False
