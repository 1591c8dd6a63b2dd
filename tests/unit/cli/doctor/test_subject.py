from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pando_cli import client_config, stack_record
from pando_cli.client_config import ClientConfig
from pando_cli.doctor.finding import Status
from pando_cli.doctor.subject import find_subject
from pando_cli.home import Home
from pando_cli.stack import home_lock
from pando_cli.stack_record import StackRecord

URL = "http://127.0.0.1:8123"
VARIABLES = ("REDIS_URL", "STORAGE_URL", "MODELS", "POLICY_FILE", "PORT", "URL", "API_KEY")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in VARIABLES:
        monkeypatch.delenv(f"PANDO_{name}", raising=False)
    return Home.locate(tmp_path / "home")


@pytest.fixture
def record(home: Home) -> Iterator[StackRecord]:
    """Of a stack that runs in the home."""
    record = StackRecord(
        pid=1,
        url=URL,
        environment={
            "PANDO_REDIS_URL": "redis://:geheim@127.0.0.1:7000/0",
            "PANDO_STORAGE_URL": f"file://{home.storage}",
            "PANDO_MODELS": "tiny=/models/tiny,large=acme/large",
            "PANDO_POLICY_FILE": "/etc/policy.toml",
        },
    )
    with home_lock.hold(home):
        stack_record.save(home, record)
        client_config.save(home, ClientConfig(URL, "sk-pando-own"))
        yield record


def test_nothing_runs(home: Home) -> None:
    found = find_subject(home, None, None)
    assert (found.stack, found.redis_url, found.url, found.api_key) == (None, None, None, None)
    assert found.settings.storage_url == f"file://{home.storage}"
    assert list(found.settings.models) == ["tiny"]
    assert str(home.root) in found.nothing_runs
    assert not found.elsewhere


def test_the_policy_that_a_stack_would_go_by(home: Home) -> None:
    assert find_subject(home, None, None).policy_file is None
    home.root.mkdir()
    home.policy.write_text("")
    assert find_subject(home, None, None).policy_file == home.policy


def test_the_stack_of_the_home(home: Home, record: StackRecord) -> None:
    found = find_subject(home, None, None)
    assert found.stack == record
    assert found.redis_url == record.environment["PANDO_REDIS_URL"]
    assert (found.url, found.api_key) == (URL, "sk-pando-own")
    assert found.settings.models == {"tiny": "/models/tiny", "large": "acme/large"}
    assert found.policy_file == Path("/etc/policy.toml")
    assert [finding.status for finding in found.configuration] == [Status.OK]


def test_a_stack_that_has_ended_does_not_count(home: Home) -> None:
    with home_lock.hold(home):
        stack_record.save(home, StackRecord(1, URL, {}))
    assert find_subject(home, None, None).stack is None


def test_its_own_url_is_no_other_stack(home: Home, record: StackRecord) -> None:
    assert find_subject(home, f"{URL}/v1/", None).stack == record


def test_another_url_is_all_that_is_known(home: Home, record: StackRecord) -> None:
    found = find_subject(home, "http://elsewhere:8000/v1", None)
    assert found.elsewhere
    assert (found.stack, found.redis_url) == (None, None)
    assert (found.url, found.api_key) == ("http://elsewhere:8000", None)
    assert "PANDO_REDIS_URL" in found.nothing_runs


def test_the_environment_comes_first(
    home: Home, record: StackRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANDO_REDIS_URL", "redis://redis:6379/0")
    monkeypatch.setenv("PANDO_STORAGE_URL", "s3://bucket")
    found = find_subject(home, "http://elsewhere:8000", "sk-pando-given")
    assert (found.stack, found.elsewhere) == (None, False)
    assert found.redis_url == "redis://redis:6379/0"
    assert found.settings.storage_url == "s3://bucket"
    assert found.settings.models == {}
    assert (found.url, found.api_key) == ("http://elsewhere:8000", "sk-pando-given")


def test_a_variable_that_is_wrong_is_named_and_not_quoted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANDO_PORT", "geheim")
    found = find_subject(home, None, None)
    (finding,) = found.configuration
    assert finding.status is Status.FAIL
    assert "PANDO_PORT" in finding.found
    assert "geheim" not in finding.found
    assert found.settings.storage_url == f"file://{home.storage}"


def test_a_broken_record(home: Home) -> None:
    with home_lock.hold(home):
        home.stack_record.write_text("{")
        found = find_subject(home, None, None)
    assert found.stack is None
    assert found.configuration[0].status is Status.FAIL
    assert str(home.stack_record) in found.configuration[0].found


def test_a_broken_client_configuration(home: Home) -> None:
    home.root.mkdir()
    home.client_config.write_text("{")
    found = find_subject(home, None, None)
    assert found.configuration[0].status is Status.FAIL
    assert found.configuration[0].mend
