"""Connections are bounded by what the system lets the process open."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pando_api.open_files import connections_within


@pytest.mark.parametrize(
    ("files", "connections"), [(100, 1), (201, 1), (1024, 824), (8200, 8000), (1 << 20, 8000)]
)
def test_connections_leave_files_for_the_rest(files: int, connections: int) -> None:
    assert connections_within(files) == connections


def test_a_process_takes_what_it_may_have() -> None:
    """In one of its own: a limit that was lowered cannot be raised again."""
    code = (
        "import resource\n"
        "from pando_api.open_files import allow_connections\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 900))\n"
        "print(allow_connections(), *resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["700", "900", "900"]
