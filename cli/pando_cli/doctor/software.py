"""Python and the libraries, held against what the installed packages say they need."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn

PANDO = (
    "pando-cli",
    "pando-shared",
    "pando-kernels",
    "pando-api",
    "pando-scheduler",
    "pando-worker",
)
#: What people ask for first; the rest is told together.
NAMED = ("torch", "triton", "transformers", "redis", "celery")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution. `requires` are its requirements here, without extras."""

    name: str
    version: str
    python: str = ""
    requires: tuple[Requirement, ...] = ()


#: The installed distribution of a name, or None.
Lookup = Callable[[str], Package | None]


def installed(name: str) -> Package | None:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    wanted = map(Requirement, found.requires or ())
    here = tuple(w for w in wanted if w.marker is None or w.marker.evaluate({"extra": ""}))
    return Package(name, found.version, str(found.metadata.json.get("requires_python", "")), here)


def software(look: Lookup = installed) -> list[Finding]:
    return [
        python(platform.python_version(), look),
        pando_packages(look),
        *(library(name, look) for name in NAMED),
        other_libraries(look),
    ]


def python(version: str, look: Lookup) -> Finding:
    wanted = SpecifierSet(",".join(p.python for p in _present(PANDO, look) if p.python))
    if not wanted.contains(version, prereleases=True):
        return fail(
            "Python",
            f"{version}, but Pando needs {wanted}",
            f"Make a virtual environment with Python {wanted} and install Pando there.",
        )
    return ok("Python", version)


def pando_packages(look: Lookup) -> Finding:
    """All of one version: they speak with each other."""
    found = {package.name: package.version for package in _present(PANDO, look)}
    if not found:
        return fail("Pando", "no package of it is installed", "Install it with `make setup`.")
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} {version}" for name, version in found.items())
        return warn("Pando", f"versions differ: {told}", "Install all of one release.")
    version = next(iter(found.values()))
    missing = [name for name in PANDO if name not in found]
    return ok("Pando", version + (f", without {', '.join(missing)}" if missing else ""))


def library(name: str, look: Lookup) -> Finding:
    """One library against all ranges that Pando's packages, and torch, give for it."""
    ranges = [w.specifier for w in _requirements(look) if canonicalize_name(w.name) == name]
    found = look(name)
    if not ranges:
        if found is None:
            return skipped(name, "not installed, and nothing installed here needs it")
        return ok(name, found.version)
    wanted = SpecifierSet()
    for given in ranges:
        wanted &= given
    if found is not None and wanted.contains(found.version, prereleases=True):
        return ok(name, f"{found.version}, {wanted} is needed" if str(wanted) else found.version)
    have = f"{found.version} is installed" if found else "not installed"
    return fail(name, f"{have}, {wanted or 'any version'} is needed", _install(name, wanted))


def other_libraries(look: Lookup) -> Finding:
    names = sorted({canonicalize_name(w.name) for w in _requirements(look, PANDO)})
    others = [name for name in names if name not in (*NAMED, *PANDO)]
    wrong = [finding for finding in (library(n, look) for n in others) if finding.mend]
    if wrong:
        told = "; ".join(f"{finding.name}: {finding.found}" for finding in wrong)
        return fail("other libraries", told, " ".join(finding.mend for finding in wrong))
    return ok("other libraries", f"all {len(others)} are as Pando's packages need them")


def _install(name: str, wanted: SpecifierSet) -> str:
    return f"Install it: `pip install '{name}{wanted}'`."


def _present(names: tuple[str, ...], look: Lookup) -> Iterator[Package]:
    return (package for package in map(look, names) if package is not None)


def _requirements(look: Lookup, owners: tuple[str, ...] = (*PANDO, "torch")) -> list[Requirement]:
    return [wanted for package in _present(owners, look) for wanted in package.requires]
