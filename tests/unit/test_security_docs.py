"""docs/security.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_is_there() -> None:
    table = PAGE.partition("## Attacks")[2].partition("## What is left")[0]
    named = re.findall(r"`((?:unit|property|integration|e2e|containers)/[\w/.]*)`", table)
    assert len(named) > 15
    for name in named:
        found = ROOT / "tests" / name
        assert found.is_file() or any(found.glob("**/test_*.py")), name
