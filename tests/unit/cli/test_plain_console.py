"""What other people wrote cannot command the terminal that it is shown in."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from fake_service import FakeService, Outcome, Pando, error_response, job, queued_job
from rich.live import Live
from rich.text import Text

from pando_cli.plain_console import PlainConsole

#: A title, a clipboard, a cursor, C1's own CSI, text turned around, a bell, markup and an emoji.
HOSTILE = (
    "\x1b]0;owned\x07\x1b]52;c;cm0gLXJmIH4=\x07\x1b[2J\x9b31m\u202egnp.exe\u2066"
    "\nftjob-forged [link=http://evil]here[/] [bold]x :smiley:"
)
JOB = "/fine_tuning/jobs/ftjob-1"
NOW = 1_700_000_000
_COMMANDING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

HOSTILE_JOB = job(
    suffix=HOSTILE,
    status="failed",
    error={"code": "x", "message": HOSTILE},
    blocked_reason=HOSTILE,
    fine_tuned_model=HOSTILE,
)
EVENT = {"id": "e", "created_at": NOW, "level": "info", "message": HOSTILE, "type": "message"}
WEBHOOK = {
    "id": "whep_1",
    "name": HOSTILE,
    "url": HOSTILE,
    "event_types": [HOSTILE],
    "status": HOSTILE,
    "last_error": HOSTILE,
    "created_at": NOW,
}
FILE = {"id": "file-1", "filename": HOSTILE, "purpose": HOSTILE, "bytes": 1, "created_at": NOW}
MODEL = {"id": "ft:x", "parent": HOSTILE, "method": HOSTILE, "created": NOW}
CHOICE = {"message": {"content": HOSTILE}, "finish_reason": "stop"}


@pytest.fixture
def hostile(service: FakeService) -> None:
    service.on("GET", "/fine_tuning/jobs", {"data": [HOSTILE_JOB], "has_more": False})
    service.on("GET", JOB, HOSTILE_JOB)
    service.on("GET", f"{JOB}/events", {"data": [EVENT], "has_more": False})
    service.on("GET", "/files", {"data": [FILE], "has_more": False})
    service.on("GET", "/models", {"data": [MODEL]})
    service.on("GET", "/queue", {"data": [queued_job(blocked_reason=HOSTILE)]})
    service.on("GET", "/webhook_endpoints", {"data": [WEBHOOK], "has_more": False})
    service.on("POST", "/chat/completions", {"choices": [CHOICE]})
    service.on("POST", f"{JOB}/cancel", error_response(400, HOSTILE))


COMMANDS = [
    ("list",),
    ("show", "ftjob-1"),
    ("logs", "ftjob-1"),
    ("watch", "ftjob-1"),
    ("files",),
    ("models",),
    ("queue",),
    ("webhooks", "list"),
    ("sample", "tiny", "Hello"),
    ("cancel", "ftjob-1"),
]


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_name_is_shown_and_obeyed_by_nobody(pando: Pando, command: tuple[str, ...]) -> None:
    shown = _printed(pando(*command))
    assert not _COMMANDING.search(shown)
    flat = "".join(shown.split())
    assert r"\x1b]0;owned" in flat
    assert "[bold]x:smiley:" in flat


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("command", ["list", "show", "logs", "files", "models", "webhooks"])
def test_a_line_break_in_a_name_makes_no_second_line(pando: Pando, command: str) -> None:
    arguments = next(each for each in COMMANDS if each[0] == command)
    shown = _printed(pando(*arguments))
    assert not any(line.startswith("ftjob-forged") for line in shown.splitlines())


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_json_has_the_very_name_and_commands_nothing(
    pando: Pando, command: tuple[str, ...]
) -> None:
    done = pando(*command, "--json")
    assert not _COMMANDING.search(done.out)
    assert HOSTILE in _strings([json.loads(line) for line in done.out.splitlines()])


def test_half_a_character_is_printed_as_json(pando: Pando, service: FakeService) -> None:
    service.on("GET", JOB, httpx.Response(200, text=json.dumps(job(suffix="\ud83d"))))
    assert pando("show", "ftjob-1", "--json").json["suffix"] == "\ud83d"
    assert r"\ud83d" in pando("show", "ftjob-1").out


def test_peoples_letters_stay(pando: Pando, service: FakeService) -> None:
    service.on("GET", JOB, job(suffix="Möwe 海鸥 🐦"))
    assert "Möwe 海鸥 🐦" in pando("show", "ftjob-1").out
    assert "Möwe 海鸥 🐦" in pando("show", "ftjob-1", "--json").out


def test_our_own_colours_and_displays_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console = PlainConsole()
    console.print(Text("\x1b[7mred", style="red"))
    with Live(Text("bars"), console=console, auto_refresh=False) as live:
        live.update(Text("bars \x1b[2J"), refresh=True)
    shown = capsys.readouterr().out
    assert "\x1b[31m\\x1b[7mred" in shown
    assert r"bars \x1b[2J" in shown
    assert "\x1b[?25l" in shown  # The display hides the cursor itself.
    assert "\x1b[2J" not in shown


def _printed(done: Outcome) -> str:
    return done.out + done.err


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return [value] if isinstance(value, str) else []
