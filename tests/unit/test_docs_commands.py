"""Every command of README.md and docs/ is run by a test or is known not to be; of those that are
not, and of commands within sentences, what they name exists."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from docs_commands import PAGES, ROOT, Command, commands, spans
from docs_register import REGISTER, Elsewhere, elsewhere

from pando_cli.application import build
from pando_shared.settings import Settings

TESTS = ROOT / "tests"
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
COMPOSE = sorted([ROOT / "docker-compose.yml", *(ROOT / "deploy").glob("docker-compose.*.yml")])
NOBODYS = [
    command
    for page in PAGES
    for command in commands(page)
    if (entry := elsewhere(command)) and not entry.test
]
#: Each with the page that has it.
IN_SENTENCES = sorted(
    {
        (page, span)
        for page in PAGES
        for span in spans(page)
        if span.startswith(("pando ", "make ", "python ", "docker compose "))
    }
)


@pytest.mark.parametrize("entry", REGISTER, ids=lambda entry: f"{entry.page} {entry.matches}")
def test_an_entry_is_of_commands_that_there_are_and_of_a_test_that_reads_it(
    entry: Elsewhere,
) -> None:
    assert any(elsewhere(command) is entry for command in commands(entry.page))
    if entry.test:
        source = (TESTS / entry.test).read_text()
        assert "run_by(" in source or '"demo"' in source


@pytest.mark.parametrize("command", NOBODYS, ids=lambda command: command.place)
def test_what_a_command_that_nobody_runs_names_exists(command: Command) -> None:
    check(command.bare)


@pytest.mark.parametrize(("page", "span"), IN_SENTENCES)
def test_what_a_command_in_a_sentence_names_exists(page: str, span: str) -> None:
    check(span)


def test_a_command_of_an_option_that_there_is_not_is_noticed() -> None:
    for wrong in (
        "pando submit train.jsonl --modle tiny",
        "pando sumbit train.jsonl",
        "python benchmarks/step.py --jsn x",
        "make demos",
        "docker compose restart apis",
        "docker compose -f deploy/docker-compose.hubs.yml up",
        "systemctl restart pando-apis",
        "PANDO_REDIS_URLS=redis://x pando doctor",
        "pip install ./sharde",
        "cp deploy/systemd/nothing.service /etc",
    ):
        with pytest.raises(AssertionError):
            check(wrong)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """With the programs of this environment, for there is none in /opt/pando here."""
    programs = Path(sys.executable).parent
    for unit in UNITS:
        text = unit.read_text().replace("/opt/pando/.venv/bin", str(programs))
        (tmp_path / unit.name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check(text: str) -> None:
    """Fails if a command names a file, a program, an option or a variable that is none."""
    words = shlex.split(text)
    while words and (words[0] == "export" or re.match(r"[A-Z_]+=", words[0])):
        _check_variable(words.pop(0))
    for path in re.findall(r"(?<![\w./])(?:deploy|benchmarks|models)/[\w./*-]+", text):
        assert list(ROOT.glob(path)) or path.startswith("benchmarks/results"), path
    match words:
        case ["pando" | ".venv/bin/pando", *rest]:
            _check_pando(rest)
        case ["python", script, *rest]:
            source = (ROOT / script).read_text()
            assert all(f'"{word}"' in source for word in rest if word.startswith("--")), text
        case ["make", *rest]:
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in rest if "=" not in word} <= set(targets), text
        case ["docker", "compose", *rest]:
            _check_compose(rest)
        case ["systemctl", *rest]:
            units = {word for word in rest if word.startswith("pando")}
            assert units <= {unit.stem for unit in UNITS}, text
        case ["pip", "install", *rest]:
            for folder in (word for word in rest if word.startswith(".")):
                _check_distribution(folder)
        case _:
            pass


def _check_variable(assignment: str) -> None:
    name = assignment.partition("=")[0]
    asked = "".join(path.read_text() for path in (*COMPOSE, ROOT / "Makefile"))
    setting = name.removeprefix("PANDO_").lower() in Settings.model_fields
    assert name == "export" or setting or f"${{{name}" in asked, name


def _check_pando(words: list[str]) -> None:
    command = typer.main.get_command(build())
    while (below := getattr(command, "commands", None)) and words and words[0][0] != "-":
        name = words.pop(0)
        assert name in below, f"pando has no command {name}"
        command = below[name]
    if command.context_settings.get("ignore_unknown_options"):
        return  # `simulate` hands them on
    known = {name for option in command.params for name in option.opts} | {"--help"}
    assert {word for word in words if word.startswith("-")} <= known, words


def _check_compose(words: list[str]) -> None:
    """Files that are named, and services behind what is done to them."""
    services: set[str] = set()
    for path in COMPOSE:
        services |= set(yaml.safe_load(path.read_text())["services"])
    doing = next((i for i, word in enumerate(words) if word in ("exec", "stop", "restart")), None)
    if doing is not None:
        named = [word for word in words[doing + 1 :] if not word.startswith("-")]
        assert named[0] in services, named


def _check_distribution(requirement: str) -> None:
    folder, _, extras = requirement.rstrip("]").partition("[")
    project = ROOT / folder / "pyproject.toml"
    assert project.is_file(), folder
    known = tomllib.loads(project.read_text())["project"].get("optional-dependencies", {})
    assert set(filter(None, extras.split(","))) <= set(known), requirement
