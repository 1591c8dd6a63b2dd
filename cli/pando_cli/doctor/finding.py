"""What a check has found, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    #: Works now, and may not for long, or not as well as it could.
    WARN = "warn"
    FAIL = "fail"
    #: There was nothing to look at; `found` says why.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """`found` and `mend` are for people and hold no secrets; `mend` is empty where all is well."""

    name: str
    status: Status
    found: str
    mend: str = ""


def ok(name: str, found: str) -> Finding:
    return Finding(name, Status.OK, found)


def warn(name: str, found: str, mend: str) -> Finding:
    return Finding(name, Status.WARN, found, mend)


def fail(name: str, found: str, mend: str) -> Finding:
    return Finding(name, Status.FAIL, found, mend)


def skipped(name: str, why: str) -> Finding:
    return Finding(name, Status.SKIPPED, why)
