from __future__ import annotations

import threading

import pytest

from pando_cli.doctor.deadline import run_within
from pando_cli.doctor.finding import Finding, Status, ok


def test_findings_come_in_the_order_of_their_checks() -> None:
    first_may_end = threading.Event()

    def first() -> list[Finding]:
        first_may_end.wait(10)
        return [ok("a", ""), ok("b", "")]

    def second() -> list[Finding]:
        first_may_end.set()
        return [ok("c", "")]

    found = run_within(10, {"first": first, "second": second})
    assert [finding.name for finding in found] == ["a", "b", "c"]


def test_a_check_that_hangs_is_given_up() -> None:
    released = threading.Event()

    def hang() -> list[Finding]:
        released.wait(10)
        return []

    found = run_within(0.05, {"disk": hang, "quick": lambda: [ok("quick", "")]})
    released.set()
    assert [(f.name, f.status) for f in found] == [("disk", Status.FAIL), ("quick", Status.OK)]
    assert "0.05 s" in found[0].found


def test_a_fault_of_a_check_is_not_hidden() -> None:
    def broken() -> list[Finding]:
        raise ZeroDivisionError("a fault")

    with pytest.raises(ZeroDivisionError, match="a fault"):
        run_within(10, {"broken": broken})
