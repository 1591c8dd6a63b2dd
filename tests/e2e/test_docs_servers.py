"""The commands of the pages that stay until they are stopped: stacks, and workers that join one."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest
from docs_commands import Command
from docs_register import STAYS, run_by
from docs_shapes import check_shape
from docs_shell import Reader
from local_stack import Done, LocalStack, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STACKS = [each for each in run_by(STAYS) if "pando up" in each.bare]
#: What a further machine is told to type, all of it at once.
WORKERS = [
    (page, tuple(commands))
    for page, commands in groupby(
        (each for each in run_by(STAYS) if each not in STACKS), lambda each: each.page
    )
]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "work", LocalStack(tmp_path / ".pando"))


@pytest.mark.parametrize("command", STACKS, ids=lambda command: command.place)
def test_a_stack_comes_up_as_the_page_shows_and_goes_with_ctrl_c(
    reader: Reader, command: Command
) -> None:
    with reader.serving(command) as server:
        assert eventually(lambda: "API key" in server.printed()), server.printed()
        if command.shown is not None:
            check_shape(command, Done(0, server.printed(), ""))
        assert reader.stack.pando("workers").code == 0
        if "--host" in command.bare:
            for _page, commands in WORKERS:
                check_joins(reader, commands)
    assert server.code == 0, server.printed()
    assert reader.stack.pando("workers").code == 3


def check_joins(reader: Reader, commands: tuple[Command, ...]) -> None:
    """That a machine's worker is given work by a stack that is open to it. Here it may have the
    name of the stack's own, as both have that of this host."""
    with reader.serving(*commands) as worker:
        assert eventually(lambda: "base model tiny is ready" in worker.printed(), 120), (
            f"{commands[-1].place}: {worker.printed()}"
        )
