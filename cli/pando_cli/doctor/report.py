"""Findings as a list that people read, and as JSON that programs do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pando_cli.doctor.finding import Finding, Status
from pando_cli.rendering import list_table

_STYLES = {
    Status.OK: "green",
    Status.WARN: "yellow",
    Status.FAIL: "bold red",
    Status.SKIPPED: "dim",
}
#: Of several, the worst is the whole's.
_WORST_FIRST = (Status.FAIL, Status.WARN)


def overall(findings: Sequence[Finding]) -> Status:
    present = {finding.status for finding in findings}
    return next((status for status in _WORST_FIRST if status in present), Status.OK)


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    return {"status": overall(findings), "findings": [asdict(finding) for finding in findings]}


def listing(findings: Sequence[Finding]) -> RenderableType:
    """A line for each finding, and below it how to mend it."""
    table = list_table("check", "status", "found")
    for finding in findings:
        found = Text(finding.found, style="dim" if finding.status is Status.SKIPPED else "")
        if finding.mend:
            found.append(f"\n{finding.mend}", style="italic")
        table.add_row(Text(finding.name), _status(finding.status), found)
    return Group(table, "", summary(findings))


def summary(findings: Sequence[Finding]) -> Text:
    """ "30 checks: 25 ok, 1 warn, 1 fail, 3 skipped"."""
    counts = Counter(finding.status for finding in findings)
    text = Text(f"{len(findings)} checks: ")
    for status in Status:
        if counts[status]:
            text.append(f"{counts[status]} {status}", style=_STYLES[status])
            text.append(", ")
    text.right_crop(2)
    return text


def _status(status: Status) -> Text:
    return Text(status, style=_STYLES[status], no_wrap=True)
