"""What can be known of the container images without building them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = {
    name: ROOT / "deploy" / "docker" / f"{name}.Dockerfile"
    for name in ("api", "scheduler", "worker")
}
TORCH_USERS = {"torch", "transformers", "triton", "peft", "accelerate", "pando-kernels"}


def copied(dockerfile: Path) -> list[str]:
    """What the image takes from the repository."""
    return re.findall(r"^COPY (?!--from)(\S+) \S+$", dockerfile.read_text(), re.MULTILINE)


def project(folder: str) -> dict[str, object]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]


def requirements(folder: str) -> set[str]:
    """Names of the distributions that a package of ours asks for."""
    wanted = project(folder)["dependencies"]
    assert isinstance(wanted, list)
    return {re.split(r"[^A-Za-z0-9.-]", requirement)[0].lower() for requirement in wanted}


@pytest.mark.parametrize("service", DOCKERFILES)
def test_every_source_exists_and_is_in_the_build_context(service: str) -> None:
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    sources = copied(DOCKERFILES[service])
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source.split("/")[0] in allowed


@pytest.mark.parametrize("service", DOCKERFILES)
def test_an_image_holds_every_package_of_ours_that_it_needs(service: str) -> None:
    folders = [source for source in copied(DOCKERFILES[service]) if (ROOT / source).is_dir()]
    ours = {name for name in set().union(*map(requirements, folders)) if name.startswith("pando-")}
    assert ours <= {project(folder)["name"] for folder in folders}


@pytest.mark.parametrize("service", ["api", "scheduler"])
def test_api_and_scheduler_images_hold_no_torch(service: str) -> None:
    for folder in copied(DOCKERFILES[service]):
        assert not requirements(folder) & TORCH_USERS


@pytest.mark.parametrize("service", DOCKERFILES)
def test_an_image_runs_its_service_as_nobody_special_and_says_whether_it_is_well(
    service: str,
) -> None:
    final = DOCKERFILES[service].read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER (?!0\b|root\b)\d+$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", final, re.MULTILINE)
    command = re.search(r'^CMD \["(\S+)"\]$', final, re.MULTILINE)
    assert command
    assert command[1] in str(project(f"services/{service}")["scripts"])


def test_the_workers_image_for_gpus_has_the_compiler_that_triton_starts_with() -> None:
    """Triton builds its CUDA binding when the first kernel is launched."""
    final = DOCKERFILES["worker"].read_text().rpartition("\nFROM ")[2]
    joined = final.replace("\\\n", " ")
    assert "ARG TORCH" in final
    install = r'^RUN if \[ "\$TORCH" = cuda \];.*apt-get install .*\bgcc\b.*\blibc6-dev\b'
    assert re.search(install, joined, re.MULTILINE)


def test_every_base_image_is_a_build_argument() -> None:
    for dockerfile in DOCKERFILES.values():
        bases = re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE)
        assert set(bases) == {"${PYTHON_IMAGE}"}


def test_compose_builds_every_image_it_runs_and_keeps_what_must_stay() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]
    built = {s["image"]: ROOT / s["build"]["dockerfile"] for s in services.values() if "build" in s}
    worker_on_gpus = built.pop("pando-worker-gpu")
    assert worker_on_gpus == DOCKERFILES["worker"]
    assert services["worker-gpu"]["build"]["args"]["TORCH"] == "cuda"
    assert built == {f"pando-{name}": path for name, path in DOCKERFILES.items()}
    of_others = {"redis", "prometheus", "grafana"}
    assert {name for name, s in services.items() if "build" not in s} == {*of_others, "prepare"}
    assert services["prepare"]["image"] in built
    assert {"storage", *of_others} == set(compose["volumes"])


@pytest.mark.parametrize("service", DOCKERFILES)
def test_an_image_can_send_traces(service: str) -> None:
    assert '"./shared[otel]"' in DOCKERFILES[service].read_text()
