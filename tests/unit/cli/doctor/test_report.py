from __future__ import annotations

import pytest
from rich.console import Console

from pando_cli.doctor.finding import Finding, Status, fail, ok, skipped, warn
from pando_cli.doctor.report import document, listing, overall, summary

OK, SKIPPED = ok("a", "well"), skipped("d", "[nothing] there")
WARN, FAIL = warn("b", "so so", "do this"), fail("c", "broken", "do that")


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([OK, SKIPPED], Status.OK),
        ([OK, WARN], Status.WARN),
        ([FAIL, WARN, OK], Status.FAIL),
        ([], Status.OK),
    ],
)
def test_the_worst_is_the_wholes(findings: list[Finding], status: Status) -> None:
    assert overall(findings) is status


def test_as_json() -> None:
    assert document([WARN, SKIPPED]) == {
        "status": "warn",
        "findings": [
            {"name": "b", "status": "warn", "found": "so so", "mend": "do this"},
            {"name": "d", "status": "skipped", "found": "[nothing] there", "mend": ""},
        ],
    }


def test_for_people() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(listing([OK, WARN, FAIL, SKIPPED]))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    assert lines == [
        "check  status   found",
        "a      ok       well",
        "b      warn     so so",
        "                do this",
        "c      fail     broken",
        "                do that",
        "d      skipped  [nothing] there",
        "",
        "4 checks: 1 ok, 1 warn, 1 fail, 1 skipped",
    ]


def test_only_what_there_is_is_counted() -> None:
    assert summary([OK, OK]).plain == "2 checks: 2 ok"
