"""The stack that end-to-end tests run against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stack_access import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The one that the environment names, else one with a pretend cluster."""
    given = Stack.from_environment()
    if given is not None:
        yield given
        return
    from pretend_stack import pretend_stack

    with pretend_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running
