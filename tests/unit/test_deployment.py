"""What can be known of compose files, units for systemd and their pages without starting them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pando_shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
COMPOSE = sorted([ROOT / "docker-compose.yml", *(ROOT / "deploy").glob("docker-compose.*.yml")])
PAGES = [ROOT / "docs" / name for name in ("containers.md", "scaling-out.md")]
#: What services read that is not one of our settings.
OTHERS = {"PANDO_HOME"}
OURS = ("api", "scheduler", "prepare", "worker", "worker-gpu")


def services(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text())["services"])


def is_setting(name: str) -> bool:
    return name.removeprefix("PANDO_").lower() in Settings.model_fields


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_every_variable_that_a_service_is_given_is_one_it_reads(path: Path) -> None:
    for service in services(path).values():
        for name in service.get("environment", {}):
            assert not name.startswith("PANDO_") or is_setting(name), name


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_every_variable_that_a_compose_file_asks_for_is_explained_somewhere(path: Path) -> None:
    told = "".join(page.read_text() for page in (*PAGES, *COMPOSE, ROOT / "Makefile"))
    for name in re.findall(r"\$\{([A-Z_]+)", path.read_text()):
        assert len(re.findall(rf"\b{name}\b", told)) > 1, name


@pytest.mark.parametrize("name", OURS)
def test_our_services_can_change_nothing_but_their_data(name: str) -> None:
    service = services(ROOT / "docker-compose.yml")[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True


@pytest.mark.parametrize("name", ["redis", "prometheus", "grafana"])
def test_services_of_others_get_no_more_than_they_need(name: str) -> None:
    service = services(ROOT / "docker-compose.yml")[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    needed = {"redis": ["CHOWN", "SETGID", "SETUID"]}
    assert service.get("cap_add", []) == needed.get(name, [])


def test_nothing_listens_beyond_this_machine() -> None:
    for service in services(ROOT / "docker-compose.yml").values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_image_of_others_is_of_a_version_and_can_be_another() -> None:
    for service in services(ROOT / "docker-compose.yml").values():
        if "build" not in service and not service["image"].startswith("pando-"):
            assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-\S+:v?\d\S*\}", service["image"])


def test_redis_keeps_what_it_is_told_and_forgets_nothing() -> None:
    command = " ".join(services(ROOT / "docker-compose.yml")["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "--requirepass" in command


def test_grafana_has_its_data_source_and_dashboards_without_a_click() -> None:
    grafana = services(ROOT / "docker-compose.yml")["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "pando.yml").read_text())[
        "providers"
    ]
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "deploy" / "grafana" / "dashboards" / Path(home).name).is_file()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_program_of_ours(unit: Path) -> None:
    text = unit.read_text()
    command = re.search(r"^ExecStart=\S*/([a-z-]+)( --[a-z-]+)?$", text, re.MULTILINE)
    assert command
    scripts: dict[str, str] = {}
    for project in ROOT.glob("services/*/pyproject.toml"):
        scripts |= tomllib.loads(project.read_text())["project"]["scripts"]
    assert command[1] in scripts
    for name in re.findall(r"^Environment=(PANDO_\w+)=", text, re.MULTILINE):
        assert is_setting(name)
    assert "User=pando" in text
    assert "EnvironmentFile=/etc/pando.env" in text


def test_the_units_environment_is_of_settings_that_fit() -> None:
    lines = (ROOT / "deploy" / "systemd" / "pando.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    ours = {name: value for name, value in given.items() if name.startswith("PANDO_")}
    assert all(map(is_setting, ours))
    Settings.model_validate({name[6:].lower(): value for name, value in ours.items()})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_pages_commands_name_files_services_and_variables_that_exist(page: Path) -> None:
    text = page.read_text()
    commands = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    assert commands
    known = set(services(ROOT / "docker-compose.yml"))
    asked = "".join(path.read_text() for path in COMPOSE)
    for command in commands:
        for path in re.findall(r"(?<![\w/])deploy/[\w./*-]+", command):
            assert list(ROOT.glob(path)), path
        for name in re.findall(r"\b(PANDO_[A-Z_]+)=", command):
            assert is_setting(name) or f"${{{name}" in asked, name
        for name in re.findall(r"docker compose (?:exec(?: -T)?|stop|restart) ([a-z-]+)", command):
            assert name in known
