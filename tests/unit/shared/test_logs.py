"""Every line of a service's log: its form, its names, its errors, and whoever writes it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from pando_shared.log_context import log_context
from pando_shared.logs import make_handler
from pando_shared.settings import Settings

#: Gives a message and its arguments as the line that a service would write, the exception that is
#: being handled included.
Line = Callable[..., str]
LogFormat = Literal["json", "text"]


def line_of(settings: Settings, worker_id: str | None = None) -> Line:
    handler = make_handler(settings, "worker", worker_id)

    def line(message: object, *args: object, fields: dict[str, Any] | None = None) -> str:
        exc_info = sys.exc_info()
        record = logging.LogRecord(
            "pando_worker.round", logging.INFO, __file__, 1, message, args, exc_info
        )
        if fields is not None:
            record.fields = fields
        return handler.format(record)

    return line


def line_of_error(line: Line, error: Exception) -> str:
    """What is logged where `error` has been caught."""

    def fail() -> None:
        raise error

    try:
        fail()
    except Exception:
        return line("failed: %s", type(error).__name__)
    raise AssertionError("nothing was raised")


@pytest.fixture
def json_line() -> Line:
    return line_of(Settings(log_format="json"))


@pytest.fixture
def text_line() -> Line:
    return line_of(Settings(log_format="text"))


def test_a_json_line_says_when_what_and_who(json_line: Line) -> None:
    before = datetime.now(UTC)
    with log_context(job_id="ftjob-1", tenant="acme"):
        entry = json.loads(json_line("step %d", 3))
    time = entry.pop("time")
    assert len(time) == len("2026-05-04T09:12:31.482Z")
    assert time.endswith("Z")
    assert abs((datetime.fromisoformat(time) - before).total_seconds()) < 60
    assert entry == {
        "level": "INFO",
        "logger": "pando_worker.round",
        "message": "step 3",
        "service": "worker",
        "job_id": "ftjob-1",
        "tenant": "acme",
    }


def test_fields_of_a_call_join_the_object_without_secrets(json_line: Line) -> None:
    fields = {"status": 200, "path": "/redis://:hunter2@x"}
    entry = json.loads(json_line("done", fields=fields))
    assert (entry["status"], entry["path"]) == (200, "/redis://:***@x")


def test_text_has_the_names_behind_the_message(text_line: Line) -> None:
    with log_context(request_id="req_1", tenant="acme"):
        line = text_line("step %d", 3)
    assert line.endswith(" INFO pando_worker.round step 3 request_id=req_1 tenant=acme")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_workers_lines_name_it(log_format: LogFormat) -> None:
    line = line_of(Settings(log_format=log_format), worker_id="host-cpu")
    assert "host-cpu" in line("hello")


FORGED = "x.jsonl\r\n2026-05-04 09:12:31,000 INFO pando_api all is well\x1b[1A\u2028\ud800"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_what_a_user_writes_starts_no_line(log_format: LogFormat) -> None:
    line = line_of(Settings(log_format=log_format))
    with log_context(request_id=FORGED):
        written = line("file %s", FORGED)
    assert len(written.splitlines()) == 1
    assert written.isprintable()
    written.encode()
    if log_format == "json":
        assert json.loads(written)["message"] == f"file {FORGED}"


def test_an_error_is_part_of_the_json_line(json_line: Line) -> None:
    written = line_of_error(json_line, ValueError(FORGED))
    assert len(written.splitlines()) == 1
    exception = json.loads(written)["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert exception.endswith(f"ValueError: {FORGED}\n")


def test_an_error_in_text_is_indented_and_its_message_starts_no_line(text_line: Line) -> None:
    error = ValueError(FORGED)
    error.__cause__ = OSError("the\ncause")
    error.add_note("a note\nof two lines\rwith\x1b[0m more")
    first, *more = line_of_error(text_line, error).split("\n")
    assert first.endswith("failed: ValueError")
    assert all(line.startswith("    ") and line.isprintable() for line in more)
    assert "    OSError: the\\ncause" in more
    assert any(line.startswith("    ValueError: x.jsonl\\r\\n2026") for line in more)
    assert "        raise error" in more  # code has lines of its own


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_group_of_errors_is_told_too(log_format: LogFormat) -> None:
    line = line_of(Settings(log_format=log_format))
    error = ExceptionGroup("several", [ValueError(FORGED), OSError("full")])
    first, *more = line_of_error(line, error).split("\n")
    assert not more or all(said.startswith("    ") and said.isprintable() for said in more)
    assert "OSError: full" in "".join([first, *more])


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_secrets_are_hidden_wherever_they_are(log_format: LogFormat) -> None:
    line = line_of(Settings(log_format=log_format))
    url = "redis://:" + "hunter2@redis:6379/0"
    with log_context(tenant=url):
        written = line("at %s", url) + line_of_error(line, ConnectionError(f"cannot reach {url}"))
    assert "hunter2" not in written
    assert written.count("redis://:***@redis:6379/0") == 4  # message, exception and both names


def test_a_call_with_wrong_arguments_keeps_its_line(json_line: Line) -> None:
    message = json.loads(json_line("step %d", "three"))["message"]
    assert message.startswith("step %d (its arguments cannot be shown: TypeError")


def test_log_exception_outside_a_handler_has_no_exception(json_line: Line) -> None:
    assert "exception" not in json.loads(json_line("nothing was raised"))


def run_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that sets its logs up and then runs `code`."""
    begin = (
        "import logging, threading, warnings\n"
        "from pando_shared.logs import set_up_logging\n"
        "from pando_shared.settings import Settings\n"
        "set_up_logging(Settings(), 'api')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", begin + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_warnings_threads_and_the_processs_own_end_are_json() -> None:
    process = run_process(
        "warnings.warn('old\\nways')\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='helper')\n"
        "thread.start(); thread.join()\n"
        "raise RuntimeError('redis://:hun' + 'ter2@redis')",
        PANDO_LOG_FORMAT="json",
    )
    assert process.returncode == 1
    assert process.stdout == ""
    warned, thread, ended = (json.loads(line) for line in process.stderr.splitlines())
    assert (warned["logger"], warned["level"]) == ("py.warnings", "WARNING")
    assert "old\nways" in warned["message"]
    assert "thread helper" in thread["message"]
    assert "ZeroDivisionError" in thread["exception"]
    assert ended["level"] == "CRITICAL"
    assert ended["exception"].endswith("RuntimeError: redis://:***@redis\n")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["ours debug", "ours info", "theirs info", "theirs error"]),
        ("INFO", ["ours info", "theirs info", "theirs error"]),
        ("ERROR", ["theirs error"]),
    ],
)
def test_the_level_is_for_all_but_debug_is_ours_alone(level: str, shown: list[str]) -> None:
    process = run_process(
        "ours, theirs = logging.getLogger('pando_api.app'), logging.getLogger('botocore.auth')\n"
        "ours.debug('ours debug'); ours.info('ours info')\n"
        "theirs.debug('theirs debug'); theirs.info('theirs info'); theirs.error('theirs error')",
        PANDO_LOG_LEVEL=level,
        PANDO_LOG_FORMAT="text",
    )
    assert [" ".join(line.split()[-2:]) for line in process.stderr.splitlines()] == shown


def test_libraries_that_brought_handlers_of_their_own_are_heard_once_through_ours() -> None:
    """As transformers and torch do; who only wants to be silent stays so."""
    process = run_process(
        "from pando_shared.logs import adopt_libraries_loggers\n"
        "loud, silent = logging.getLogger('loud'), logging.getLogger('silent')\n"
        "loud.propagate = silent.propagate = False\n"
        "loud.addHandler(logging.StreamHandler())\n"
        "silent.addHandler(logging.NullHandler())\n"
        "adopt_libraries_loggers()\n"
        "loud.warning('heard'); silent.warning('unheard')",
        PANDO_LOG_FORMAT="json",
    )
    assert json.loads(process.stderr)["message"] == "heard"


def test_other_formats_and_levels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDO_LOG_FORMAT", "xml")
    with pytest.raises(ValidationError, match=r"log_format[\s\S]*'text' or 'json'"):
        Settings()
    monkeypatch.setenv("PANDO_LOG_FORMAT", "json")
    monkeypatch.setenv("PANDO_LOG_LEVEL", "LOUD")
    with pytest.raises(ValidationError, match="log_level"):
        Settings()
