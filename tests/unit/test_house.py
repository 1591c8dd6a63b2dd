"""The rules of the house that no tool of its own watches."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "pando_shared": ROOT / "shared",
    "pando_kernels": ROOT / "kernels",
    "pando_api": ROOT / "services" / "api",
    "pando_scheduler": ROOT / "services" / "scheduler",
    "pando_worker": ROOT / "services" / "worker",
    "pando_cli": ROOT / "cli",
}
FOLDERS = ("shared", "kernels", "services", "cli")


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` as someone at the repository's root would, with the root importable."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def installed_distributions() -> dict[str, Path]:
    found = {}
    for folder in PACKAGES.values():
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        found[project["name"]] = folder
    return found


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_the_root_is_no_package(name: str) -> None:
    inits = list((ROOT / name).glob("__init__.py*"))
    if name == "services":
        inits += (ROOT / name).glob("*/__init__.py*")
    assert inits == []


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_the_root_has_no_loader(name: str) -> None:
    """A folder without `__init__.py` may be a namespace, which hides no installed package."""
    found = python(
        "import importlib.util as u\n"
        f"spec = u.find_spec({name!r})\n"
        "print('none' if spec is None or spec.origin is None else spec.origin)"
    )
    assert found.returncode == 0, found.stderr
    assert not Path(found.stdout.strip()).is_relative_to(ROOT)


def test_transformers_imports_from_the_root() -> None:
    """It looks for a package called `kernels`, and breaks on a folder of ours of that name."""
    found = python("from transformers import AutoModelForCausalLM, AutoTokenizer")
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(("package", "folder"), PACKAGES.items())
def test_a_package_is_typed(package: str, folder: Path) -> None:
    assert (folder / package / "py.typed").is_file()


@pytest.mark.parametrize(("package", "folder"), PACKAGES.items())
def test_a_distribution_is_named_after_its_package_and_licensed(package: str, folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == package.replace("_", "-")
    assert project["license"] == "Apache-2.0"


def test_every_distribution_is_in_the_requirements() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = {f"-e ./{folder.relative_to(ROOT)}" for folder in installed_distributions().values()}
    assert wanted == {line for line in lines if line.startswith("-e ")}


def test_tests_are_no_packages() -> None:
    """importmode=importlib lets two test files have one name, unless a package joins them."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_import_rules_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    found = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
