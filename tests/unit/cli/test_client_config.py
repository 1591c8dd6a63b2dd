from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pando_cli import client_config
from pando_cli.client_config import ClientConfig
from pando_cli.errors import KeyRejected, UsageError
from pando_cli.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.locate(tmp_path)


def test_only_the_owner_can_read_the_key(home: Home) -> None:
    client_config.save(home, ClientConfig("http://127.0.0.1:8000", "sk-1"))
    assert stat.S_IMODE(home.client_config.stat().st_mode) == 0o600


def test_a_wider_mode_is_narrowed(home: Home) -> None:
    home.client_config.write_text("{}")
    home.client_config.chmod(0o644)
    client_config.save(home, ClientConfig("http://127.0.0.1:8000", "sk-1"))
    assert stat.S_IMODE(home.client_config.stat().st_mode) == 0o600


def test_what_was_saved_is_found(home: Home) -> None:
    config = ClientConfig("http://127.0.0.1:8123", "sk-1")
    client_config.save(home, config)
    assert client_config.resolve(home, None, None) == config


def test_flags_win(home: Home) -> None:
    client_config.save(home, ClientConfig("http://127.0.0.1:8123", "sk-1"))
    found = client_config.resolve(home, "https://pando.example/", "sk-2")
    assert found == ClientConfig("https://pando.example", "sk-2")


def test_the_home_key_goes_nowhere_else(home: Home) -> None:
    client_config.save(home, ClientConfig("http://127.0.0.1:8123", "sk-1"))
    with pytest.raises(KeyRejected, match=r"no API key for http://elsewhere:8000"):
        client_config.resolve(home, "http://elsewhere:8000", None)


def test_a_url_of_the_openai_kind_is_understood(home: Home) -> None:
    found = client_config.resolve(home, "http://127.0.0.1:8000/v1", "sk-1")
    assert found.url == "http://127.0.0.1:8000"


def test_no_key_says_what_to_do(home: Home) -> None:
    with pytest.raises(KeyRejected) as caught:
        client_config.resolve(home, None, None)
    assert "pando up" in str(caught.value.hint)


def test_a_key_may_be_the_line_of_a_file(home: Home) -> None:
    assert client_config.resolve(home, None, " sk-1\r\n").api_key == "sk-1"


@pytest.mark.parametrize("key", ["sk-ключ", "sk-1\nX-Other: header", "sk-\x1b[2J", "\ufeffsk-1"])
def test_what_cannot_be_a_key_is_not_sent(home: Home, key: str) -> None:
    with pytest.raises(KeyRejected, match="characters that no key has") as caught:
        client_config.resolve(home, None, key)
    assert key not in str(caught.value)


def test_a_file_of_bytes_is_no_configuration(home: Home) -> None:
    home.client_config.write_bytes(b"\xff\xfe{}")
    with pytest.raises(UsageError, match="is not a client configuration"):
        client_config.load(home)


def test_nobodys_home() -> None:
    with pytest.raises(UsageError, match="nobody knows the home directory in '~no-such-user/x'"):
        Home.locate(Path("~no-such-user/x"))


@pytest.mark.parametrize("text", ["", "[]", '{"url": "http://x"}', "not json"])
def test_a_damaged_file_is_named(home: Home, text: str) -> None:
    home.client_config.write_text(text)
    with pytest.raises(UsageError, match=r"client\.json"):
        client_config.resolve(home, None, None)


def test_a_url_needs_a_scheme(home: Home) -> None:
    with pytest.raises(UsageError, match="localhost:8000"):
        client_config.resolve(home, "localhost:8000", "sk-1")


@pytest.mark.parametrize("url", ["http://host:abc", "http://[::1", "http://a\nb"])
def test_an_address_that_is_none(home: Home, url: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        client_config.resolve(home, url, "sk-1")
