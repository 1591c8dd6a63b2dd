from __future__ import annotations

from importlib import metadata

import pytest
from packaging.requirements import Requirement

from pando_cli.doctor.finding import Status
from pando_cli.doctor.software import (
    NAMED,
    Lookup,
    Package,
    installed,
    library,
    other_libraries,
    pando_packages,
    python,
    software,
)


def packages(*found: Package) -> Lookup:
    return {package.name: package for package in found}.get


def kernels(*requires: str, version: str = "0.1.0") -> Package:
    return Package("pando-kernels", version, ">=3.11", tuple(map(Requirement, requires)))


@pytest.mark.parametrize(
    ("version", "status"),
    [("3.11.0", Status.OK), ("3.14.0rc1", Status.OK), ("3.10.9", Status.FAIL)],
)
def test_python(version: str, status: Status) -> None:
    assert python(version, packages(kernels())).status is status


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("2.11.0", Status.OK),
        ("2.13.0+cpu", Status.OK),
        ("2.12.0.dev20260101+cu128", Status.OK),
        ("2.10.1", Status.FAIL),
        ("3.0", Status.FAIL),
    ],
)
def test_a_library_in_and_out_of_its_range(version: str, status: Status) -> None:
    look = packages(kernels("torch>=2.11,<3"), Package("torch", version))
    found = library("torch", look)
    assert found.status is status
    assert version in found.found
    assert ("pip install 'torch<3,>=2.11'" in found.mend) == (status is Status.FAIL)


def test_all_ranges_count() -> None:
    shared = Package("pando-shared", "0.1.0", "", (Requirement("redis>=5"),))
    api = Package("pando-api", "0.1.0", "", (Requirement("redis<6"),))
    look = packages(shared, api, Package("redis", "6.1"))
    assert library("redis", look).status is Status.FAIL


def test_what_torch_wants_of_triton_counts() -> None:
    torch = Package("torch", "2.13.0", "", (Requirement("triton==3.8.0"),))
    assert library("triton", packages(torch, Package("triton", "3.7.0"))).status is Status.FAIL
    assert library("triton", packages(torch, Package("triton", "3.8.0"))).status is Status.OK


def test_a_library_that_is_missing() -> None:
    found = library("torch", packages(kernels("torch>=2.11")))
    assert found.status is Status.FAIL
    assert "not installed" in found.found


def test_a_library_that_nothing_needs() -> None:
    assert library("torch", packages()).status is Status.SKIPPED
    assert library("torch", packages(Package("torch", "1.0"))).status is Status.OK


def test_packages_of_one_release() -> None:
    assert pando_packages(packages(kernels(), Package("pando-cli", "0.1.0"))).status is Status.OK
    mixed = pando_packages(packages(kernels(version="0.2.0"), Package("pando-cli", "0.1.0")))
    assert mixed.status is Status.WARN
    assert "pando-kernels 0.2.0" in mixed.found
    assert pando_packages(packages()).status is Status.FAIL


def test_other_libraries_are_told_together() -> None:
    wanted = kernels("safetensors>=0.5", "numpy", "torch>=2.11")
    good = (Package("safetensors", "0.6"), Package("numpy", "2.0"))
    assert other_libraries(packages(wanted, *good)).status is Status.OK
    bad = other_libraries(packages(wanted, Package("safetensors", "0.4")))
    assert bad.status is Status.FAIL
    assert "safetensors: 0.4 is installed" in bad.found
    assert "numpy: not installed" in bad.found
    assert "torch" not in bad.found


def test_ranges_come_from_the_installed_packages() -> None:
    found = {finding.name: finding for finding in software()}
    assert found["Python"].status is found["Pando"].status is Status.OK
    for name in NAMED:
        assert found[name].status is Status.OK
        assert metadata.version(name) in found[name].found
    assert "<6,>=5.5" in found["celery"].found
    assert found["other libraries"].status is Status.OK


def test_requirements_of_extras_and_of_other_systems_do_not_count() -> None:
    found = installed("pando-kernels")
    assert found is not None
    assert {wanted.name for wanted in found.requires} == {"torch", "safetensors"}
    assert installed("no-such-package-anywhere") is None
