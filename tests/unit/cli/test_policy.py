"""`pando policy`, and how `pando up` hands a policy file to its services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_service import Pando

from pando_cli import stack_record
from pando_cli.commands import stack
from pando_cli.commands.policy import duration
from pando_cli.home import Home
from pando_cli.stack import home_lock
from pando_cli.stack.plan import StackPlan, service_specs
from pando_cli.stack.redis_server import RedisAddress
from pando_cli.stack_record import StackRecord
from pando_shared.settings import Settings

TEXT = """\
[scheduling]
half_life = "90m"
[tenants.acme]
weight = 2
guaranteed = 1.5
max_jobs = 20
max_storage = "1.5 GiB"
"""


@pytest.fixture(autouse=True)
def _no_policy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANDO_POLICY_FILE", raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """That of the `pando` fixture."""
    (tmp_path / "home").mkdir()
    return Home.locate(tmp_path / "home")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "given.toml"
    path.write_text(TEXT)
    return path


def rows(text: str) -> dict[str, list[str]]:
    """A printed table's cells by the first one."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return {line[0]: line[1:] for line in lines}


def test_a_right_file_is_shown_with_its_defaults(pando: Pando, file: Path) -> None:
    done = pando("policy", "check", str(file))
    assert done.code == 0
    assert f"{file} is right" in done.err
    shown = rows(done.out)
    limits = ["limit", "max_jobs", "requests_per_minute", "max_storage"]
    assert shown["tenant"] == ["weight", "guaranteed", *limits]
    assert shown["acme"] == ["2", "1.5", "unlimited", "20", "unlimited", "1.5", "GiB"]
    assert shown["(all"] == ["others)", "1", "0", *["unlimited"] * 4]
    assert shown["high"] == ["0s", "1.25"]
    assert shown["normal"] == ["5m", "1.6"]
    assert shown["low"] == ["never", "1.6"]
    assert shown["half_life"] == ["1h30m"]
    assert shown["starvation_after"] == ["1d"]
    assert shown["max_preemptions"] == ["3"]
    assert shown["reserved_share"] == ["0.25"]


def test_programs_get_the_files_own_tables_in_seconds(pando: Pando, file: Path) -> None:
    found = pando("policy", "check", str(file), "--json").json
    assert found["path"] == str(file)
    assert found["policy"]["scheduling"]["half_life"] == 5400
    assert found["policy"]["classes"]["low"] == {"preempt_after": None, "max_slowdown": 1.6}
    assert found["policy"]["tenants"] == {
        "acme": {
            "weight": 2,
            "guaranteed": 1.5,
            "limit": None,
            "max_jobs": 20,
            "requests_per_minute": None,
            "max_storage": 1_610_612_736,
        }
    }


def test_a_wrong_file_is_wrong_usage_and_all_problems_are_told(pando: Pando, file: Path) -> None:
    file.write_text("[tenants.acme]\nwieght = 2\nlimit = -1\n[classes.high]\nmax_slowdown = 0\n")
    done = pando("policy", "check", str(file))
    assert (done.code, done.out) == (2, "")
    for key in ("tenants.acme.wieght", "tenants.acme.limit = -1", "classes.high.max_slowdown = 0"):
        assert key in done.err
    error = pando("policy", "check", str(file), "--json").json["error"]
    assert error["code"] == "invalid_policy"
    assert error["message"].count("\n") == 3


def test_a_missing_file_is_wrong_usage(pando: Pando) -> None:
    done = pando("policy", "check", "none.toml")
    assert done.code == 2
    assert "none.toml: cannot be read: No such file" in done.err


def test_show_without_any_file_is_the_default(pando: Pando) -> None:
    done = pando("policy", "show")
    assert done.code == 0
    assert "No policy file" in done.err
    assert pando("policy", "show", "--json").json["path"] is None


def test_show_finds_the_homes_file(pando: Pando, home: Home) -> None:
    home.policy.write_text(TEXT)
    assert pando("policy", "show", "--json").json["path"] == str(home.policy)


def test_show_asks_the_running_stack(pando: Pando, home: Home, file: Path) -> None:
    home.policy.write_text("written since")
    stack_record.save(home, StackRecord(1, "http://x", {"PANDO_POLICY_FILE": str(file)}))
    with home_lock.hold(home):
        assert pando("policy", "show", "--json").json["path"] == str(file)
    stack_record.save(home, StackRecord(1, "http://x", {}))
    with home_lock.hold(home):
        assert pando("policy", "show", "--json").json["path"] is None


def test_show_believes_the_environment_first(
    pando: Pando, home: Home, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.policy.write_text("not this one")
    monkeypatch.setenv("PANDO_POLICY_FILE", str(file))
    assert pando("policy", "show", "--json").json["path"] == str(file)


def test_every_service_gets_the_file(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def environment(policy: Path | None) -> dict[str, str]:
        plan = StackPlan(Home(tmp_path), "127.0.0.1", 8000, {}, ("cpu",), policy=policy)
        found = plan.environment(RedisAddress("127.0.0.1", 6380, "secret"))
        assert all(spec.environment.items() >= found.items() for spec in service_specs(plan, found))
        return found

    assert "PANDO_POLICY_FILE" not in environment(None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PANDO_POLICY_FILE", environment(Path("given.toml"))["PANDO_POLICY_FILE"])
    assert Settings().policy_file == file
    assert file.is_absolute()


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[StackPlan]:
    """What `pando up` would have started."""
    plans: list[StackPlan] = []
    monkeypatch.setattr(stack, "run_stack", lambda plan, *_: plans.append(plan))
    monkeypatch.setattr(stack, "StopSignals", lambda: type("None_", (), {"install": lambda _: 0})())
    return plans


def test_up_takes_the_flag_else_the_environment_else_the_homes_file(
    pando: Pando,
    planned: list[StackPlan],
    home: Home,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert pando("up").code == 0
    home.policy.write_text(TEXT)
    assert pando("up").code == 0
    other = file.with_name("other.toml")
    other.write_text("")
    monkeypatch.setenv("PANDO_POLICY_FILE", str(other))
    assert pando("up").code == 0
    assert pando("up", "--policy", "given.toml").code == 0
    assert [plan.policy for plan in planned] == [None, home.policy, other, file]


def test_up_does_not_start_on_a_wrong_file(
    pando: Pando, planned: list[StackPlan], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    detached: list[Any] = []
    monkeypatch.setattr(stack, "start_detached", lambda *given: detached.append(given))
    home.policy.write_text("[tenants.acme]\nweight = 0\n")
    for flags in ([], ["--detach"], ["--policy", "none.toml"]):
        done = pando("up", *flags)
        assert done.code == 2
        assert "policy.toml" in done.err or "none.toml" in done.err
    assert planned == detached == []


def test_a_detached_stack_gets_the_file_too(
    pando: Pando, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def start(_: Home, options: list[str]) -> dict[str, str]:
        given.extend(options)
        return {"url": "u", "api_key": "k", "docs": "d", "home": "h", "logs": "l"}

    monkeypatch.setattr(stack, "start_detached", start)
    assert pando("up", "--detach", "--policy", "given.toml").code == 0
    assert given[given.index("--policy") + 1] == str(file)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "never"),
        (0, "0s"),
        (0.5, "0.5s"),
        (90, "1m30s"),
        (5400, "1h30m"),
        (93_784, "1d2h3m4s"),
    ],
)
def test_durations_are_as_a_file_may_have_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
