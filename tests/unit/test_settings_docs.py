"""docs/settings.md has every setting with its default, and says truly who sets it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from pando_cli.application import build
from pando_cli.home import Home
from pando_cli.stack.plan import StackPlan, service_specs
from pando_cli.stack.redis_server import RedisAddress
from pando_shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
#: Variable, marks, who reads it, default; of the table of the command's own there are none.
ROWS = re.findall(
    r"^\| `(PANDO_\w+)`([ ¹²]*) \| ([\w, ]+?) ?³? \| `?(.*?)`? \|", PAGE, re.MULTILINE
)
SETTINGS = {f"PANDO_{name.upper()}": field for name, field in Settings.model_fields.items()}


def marked(mark: str) -> set[str]:
    return {name for name, marks, _, _ in ROWS if mark in marks}


def test_the_page_has_every_setting_once_and_no_other() -> None:
    assert sorted(name for name, *_ in ROWS) == sorted(SETTINGS)


@pytest.mark.parametrize(("name", "default"), [(row[0], row[3]) for row in ROWS])
def test_a_default_is_the_default(name: str, default: str) -> None:
    field = SETTINGS[name].get_default(call_default_factory=True)
    if default == "none":
        assert field in (None, (), {})
    else:
        given = Settings.model_validate({name.removeprefix("PANDO_").lower(): default})
        assert getattr(given, name.removeprefix("PANDO_").lower()) == field


def test_what_pando_up_sets_is_marked(tmp_path: Path) -> None:
    plan = StackPlan(Home(tmp_path), "127.0.0.1", 1, {}, ("cpu",), policy=tmp_path / "policy.toml")
    shared = plan.environment(RedisAddress("127.0.0.1", 1, "password"))
    each = [spec.environment.keys() for spec in service_specs(plan, shared)]
    assert marked("¹") == {name for names in each for name in names if name.startswith("PANDO_")}


def test_compose_hands_on_every_setting_that_is_not_the_images_own() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    given = services["api"]["environment"]
    # Given as what the policy's folder is mounted on, and as the port on this machine.
    own = marked("²") - {"PANDO_POLICY_FILE"} | {"PANDO_PORT"}
    assert SETTINGS.keys() - own == {name for name in given if name.startswith("PANDO_")}
    for name in SETTINGS.keys() - own - {"PANDO_REDIS_URL", "PANDO_POLICY_FILE"}:
        assert takes_from_outside(name, given[name])


def test_a_further_machines_worker_is_given_every_setting_of_workers() -> None:
    path = ROOT / "deploy" / "docker-compose.worker.yml"
    given = yaml.safe_load(path.read_text())["services"]["worker"]["environment"]
    workers = {
        name for name, _, readers, _ in ROWS if {"all", "workers"} & set(readers.split(", "))
    }
    own = marked("²") - {"PANDO_METRICS_PORT"}  # it shares the machine's network
    assert workers - own == {name for name in given if name.startswith("PANDO_")}
    assert all(takes_from_outside(name, given[name]) for name in workers - own)


def takes_from_outside(name: str, value: Any) -> bool:
    """A variable without a value is handed on by Compose if it is set, else left out."""
    return value is None or f"${{{name}" in value


def test_the_page_has_every_variable_of_the_command() -> None:
    table = PAGE.partition("## The `pando` command")[2]
    told = set(re.findall(r"^\| `(PANDO_\w+)` \|", table, re.MULTILINE))
    assert told == set(variables(typer.main.get_command(build()))) - SETTINGS.keys()


def variables(command: Any) -> list[str]:
    below = [name for each in getattr(command, "commands", {}).values() for name in variables(each)]
    return below + [option.envvar for option in command.params if isinstance(option.envvar, str)]


def test_what_other_pages_name_is_a_setting_or_explained() -> None:
    """Those that compose files and the Makefile take are in what tests/unit/test_deployment.py
    reads."""
    elsewhere = "".join(
        path.read_text()
        for path in (
            ROOT / "Makefile",
            *ROOT.glob("docker-compose.yml"),
            *ROOT.glob("deploy/*.yml"),
        )
    )
    known = SETTINGS.keys() | {"PANDO_URL", "PANDO_API_KEY", "PANDO_HOME"}
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for name in re.findall(r"\bPANDO_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")):
            assert name in known or name in elsewhere, (page.name, name)
