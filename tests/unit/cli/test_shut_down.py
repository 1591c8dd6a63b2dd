"""With real processes: who is stopped, and above all who is not."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pando_cli import stack_record
from pando_cli.errors import StackError
from pando_cli.home import Home
from pando_cli.stack import home_lock
from pando_cli.stack.shut_down import shut_down
from pando_cli.stack_record import StackRecord

#: A stack's supervisor, as far as `pando down` can tell: it holds the lock, and ends when told.
_HOLDER = """
import sys, time
from pathlib import Path
from pando_cli.home import Home
from pando_cli.stack import home_lock
with home_lock.hold(Home.locate(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.locate(tmp_path / "home")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any stack."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def holder(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _HOLDER, str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def _record(pid: int) -> StackRecord:
    return StackRecord(pid, "http://127.0.0.1:8000", {})


def test_nothing_runs(home: Home, bystander: subprocess.Popen[bytes]) -> None:
    home.root.mkdir()
    stack_record.save(home, _record(bystander.pid))
    assert shut_down(home, 1.0) is False
    assert bystander.poll() is None


def test_the_supervisor_is_told(home: Home, holder: subprocess.Popen[bytes]) -> None:
    stack_record.save(home, _record(holder.pid))
    assert shut_down(home, 10.0) is True
    assert holder.wait(10) == -15


def test_a_dead_stacks_pid_is_left_alone_and_the_new_ones_waited_for(
    home: Home, holder: subprocess.Popen[bytes], bystander: subprocess.Popen[bytes]
) -> None:
    stack_record.save(home, _record(bystander.pid))
    saved = threading.Timer(0.5, stack_record.save, (home, _record(holder.pid)))
    saved.start()
    assert shut_down(home, 10.0) is True
    saved.join()
    assert holder.wait(10) == -15
    assert bystander.poll() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', json.dumps({"pid": 1, "x": 2})])
def test_a_broken_record_is_said_and_nobody_is_told(
    home: Home, holder: subprocess.Popen[bytes], text: str
) -> None:
    home.stack_record.write_text(text)
    with pytest.raises(StackError, match=r"stack\.json is not what `pando up` writes") as caught:
        shut_down(home, 1.0)
    assert "kill" in (caught.value.hint or "")
    assert holder.poll() is None


def test_a_dead_stacks_record_goes(home: Home) -> None:
    with home_lock.hold(home):
        stack_record.save(home, _record(1))
        stack_record.drop(home)
        assert stack_record.running(home) is None
        stack_record.drop(home)
