from __future__ import annotations

import time

import pytest
from rich.console import Console

from pando_cli.rendering import (
    age,
    clock_time,
    expected_time,
    human_bytes,
    human_distance,
    human_seconds,
    list_table,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")],
)
def test_bytes(count: int | None, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.2, "0s"), (95, "1m35s"), (59.7, "1m00s"), (7260, "2h01m")]
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert human_seconds(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [(-5, "0s"), (59, "59s"), (60, "1m"), (7300, "2h"), (90_000, "1d"), (1e7, "115d")],
)
def test_age(ago: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    assert age(1_700_000_000.0 - ago) == text


@pytest.mark.parametrize(("ahead", "text"), [(-5, "now"), (0.3, "now"), (90, "1m30s")])
def test_how_far_ahead(ahead: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    assert human_distance(1_700_000_000.0 + ahead) == text
    shown = expected_time(1_700_000_000.0 + ahead)
    assert shown == ("any moment" if text == "now" else f"{clock_time(1_700_000_090)} (in 1m30s)")


def test_what_is_not_known_is_not_ahead() -> None:
    assert (human_distance(None), expected_time(None)) == ("-", None)


def test_an_id_is_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    table = list_table("job", "name", numbers=("status",))
    table.add_row("ftjob-9f822f1729edf6609083f3fc", "a name " * 20, "succeeded")
    Console(width=60).print(table)
    assert "ftjob-9f822f1729edf6609083f3fc" in capsys.readouterr().out
