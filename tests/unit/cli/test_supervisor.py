"""With real processes, each a few lines of shell or Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pando_cli import stack_record
from pando_cli.errors import StackError
from pando_cli.home import Home
from pando_cli.stack import home_lock
from pando_cli.stack.service_spec import ServiceSpec, Tier
from pando_cli.stack.supervisor import Supervisor

#: Writes "NAME" to the file `order` when it is asked to stop, after its child has gone.
POLITE = """
trap 'kill $child; wait $child; echo {name} >> {order}; exit 0' TERM
sleep 600 & child=$!
echo $child > {pids}/{name}
wait
"""
STUBBORN = "trap '' TERM; sleep 600 & echo $! > {pids}/{name}; while true; do sleep 1; done"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.locate(tmp_path / "home")


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


@pytest.fixture
def spec(tmp_path: Path, pids: Path) -> Callable[..., ServiceSpec]:
    def make(name: str, tier: Tier = Tier.SERVICE, script: str = POLITE) -> ServiceSpec:
        text = script.format(name=name, order=tmp_path / "order", pids=pids)
        return ServiceSpec(name, ("bash", "-c", text), tier)

    return make


@pytest.fixture
def supervisor(home: Home) -> Iterator[Supervisor]:
    with home_lock.hold(home) as lock, Supervisor(home.logs, lock, stop_seconds=1.0) as found:
        yield found


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def child_of(pids: Path, name: str) -> int:
    """The grandchild of the test that a script noted down."""
    assert eventually(lambda: (pids / name).exists() and (pids / name).read_text().strip())
    return int((pids / name).read_text())


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_tiers_stop_in_order(
    supervisor: Supervisor, spec: Callable[..., ServiceSpec], pids: Path, tmp_path: Path
) -> None:
    supervisor.start([spec("redis", Tier.REDIS), spec("api"), spec("worker", Tier.WORKER)])
    children = [child_of(pids, name) for name in ("redis", "api", "worker")]
    supervisor.stop()
    assert (tmp_path / "order").read_text().split() == ["worker", "api", "redis"]
    assert not any(alive(pid) for pid in children)
    assert supervisor.pids == {}


def test_who_does_not_stop_is_killed_with_its_children(
    supervisor: Supervisor, spec: Callable[..., ServiceSpec], pids: Path
) -> None:
    supervisor.start([spec("stubborn", script=STUBBORN)])
    child = child_of(pids, "stubborn")
    supervisor.stop()
    assert not alive(child)


def test_hurry_kills_at_once(home: Home, spec: Callable[..., ServiceSpec], pids: Path) -> None:
    with home_lock.hold(home) as lock, Supervisor(home.logs, lock, stop_seconds=600) as supervisor:
        supervisor.start([spec("stubborn", script=STUBBORN)])
        child_of(pids, "stubborn")
        supervisor.hurry()
        began = time.monotonic()
    assert time.monotonic() - began < 10


def test_a_process_that_dies_is_started_again(
    supervisor: Supervisor, spec: Callable[..., ServiceSpec], pids: Path
) -> None:
    supervisor.start([spec("api")])
    orphan = child_of(pids, "api")
    before = supervisor.pids["api"]
    os.kill(before, signal.SIGKILL)

    def replaced() -> bool:
        supervisor.tick()
        return supervisor.pids.get("api", before) != before

    assert eventually(replaced)
    assert eventually(lambda: not alive(orphan))


def test_a_process_that_keeps_dying_ends_the_start(
    supervisor: Supervisor, spec: Callable[..., ServiceSpec]
) -> None:
    supervisor.start([spec("api", script="echo no such module >&2; exit 3")])
    with pytest.raises(StackError, match=r"(?s)api keeps dying \(exit status 3\).*no such module"):
        supervisor.run_until(lambda: False, lambda: False)


def test_output_lands_in_the_log(
    supervisor: Supervisor, spec: Callable[..., ServiceSpec], home: Home
) -> None:
    supervisor.start([spec("api", script="echo out; echo err >&2; sleep 600")])
    log = home.logs / "api.log"
    assert eventually(lambda: log.read_text().split() == ["out", "err"])


def test_the_environment_is_passed(supervisor: Supervisor, home: Home) -> None:
    command = ("bash", "-c", "echo $PANDO_TEST; sleep 600")
    supervisor.start([ServiceSpec("api", command, Tier.SERVICE, {"PANDO_TEST": "hello"})])
    assert eventually(lambda: (home.logs / "api.log").read_text() == "hello\n")


def test_one_stack_a_home(home: Home) -> None:
    with home_lock.hold(home):
        assert stack_record.locked(home)
        with pytest.raises(StackError, match="already up") as caught, home_lock.hold(home):
            pass
        assert caught.value.code == "already_up"
    assert not stack_record.locked(home)


_PARENT = """
import sys, time
from pathlib import Path
from pando_cli.home import Home
from pando_cli.stack import home_lock
from pando_cli.stack.service_spec import ServiceSpec, Tier
from pando_cli.stack.supervisor import Supervisor
home = Home.locate(Path(sys.argv[1]))
with home_lock.hold(home) as lock, Supervisor(home.logs, lock, stop_seconds=1.0) as supervisor:
    for number, script in enumerate(sys.argv[2:]):
        supervisor.start([ServiceSpec(f"s{number}", ("bash", "-c", script), Tier(number))])
    supervisor.run(lambda: False)
"""


def test_a_killed_supervisor_leaves_nobody_behind(
    home: Home, spec: Callable[..., ServiceSpec], pids: Path, tmp_path: Path
) -> None:
    scripts = [spec(name).command[2] for name in ("redis", "api")]
    scripts.append(spec("stubborn", script=STUBBORN).command[2])
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(home.root), *scripts])
    children = [child_of(pids, name) for name in ("redis", "api", "stubborn")]
    parent.kill()
    parent.wait()
    assert eventually(lambda: not any(alive(pid) for pid in children), seconds=20)
    assert eventually(lambda: not stack_record.locked(home))
    assert (tmp_path / "order").read_text().split() == ["api", "redis"]
