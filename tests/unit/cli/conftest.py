"""A service in a test's hands, and a `pando` that talks to it."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from fake_service import CONFIG, FakeService, Outcome, Pando

from pando_cli import connection
from pando_cli.api import Api
from pando_cli.main import run


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def api(service: FakeService) -> Api:
    return Api(CONFIG, service.transport)


@pytest.fixture
def pando(
    service: FakeService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Pando:
    """Runs a command line against the fake service, with a home of its own."""
    monkeypatch.setattr(connection, "Api", functools.partial(Api, transport=service.transport))
    monkeypatch.setenv("PANDO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PANDO_URL", CONFIG.url)
    monkeypatch.setenv("PANDO_API_KEY", CONFIG.api_key)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Outcome:
        code = run(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def operator(
    pando: Pando, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Pando:
    """A `pando` whose environment names the backend."""
    monkeypatch.setenv("PANDO_REDIS_URL", redis_url)
    monkeypatch.setenv("PANDO_STORAGE_URL", f"file://{tmp_path}/storage")
    return pando
