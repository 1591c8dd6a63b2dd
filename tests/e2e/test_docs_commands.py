"""Every page's commands and scripts, typed in its order on one stack; what they print has the shape
that the page shows. What is run elsewhere, or nowhere, is in tests/support/docs_register.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from docs_commands import PAGES, ROOT, scripts
from docs_register import is_server, typed_here
from docs_shapes import check_shape
from docs_shell import Reader
from local_stack import LocalStack
from webhook_receiver import receiving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

WITH_COMMANDS = [page for page in PAGES if typed_here(page)]
WITH_SCRIPTS = [page for page in PAGES if any(not is_server(each) for each in scripts(page))]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    place = tmp_path_factory.mktemp("reader")
    settings = {
        "PANDO_INTEGRATIONS": "tensorboard,mlflow,wandb",
        "PANDO_MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db",
        "WANDB_MODE": "offline",
        "PANDO_WEBHOOK_ALLOW": "127.0.0.1/32",
        "PANDO_ROUND_SECONDS": "3",
    }
    models = {"tiny": ROOT / "models" / "tiny-base"}
    with (
        LocalStack(place / ".pando", models, settings).running() as stack,
        receiving() as receiver,
    ):
        yield Reader(place / "work", stack, receiver.url)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_a_pages_commands_do_what_it_says(reader: Reader, page: str) -> None:
    reader.forget()
    for command in typed_here(page):
        done = reader.type(command)
        assert done.code == 0, f"{command.place}: {command.text}\n{done.out}\n{done.err}"
        if command.shown is not None:
            check_shape(command, done)


@pytest.mark.parametrize("page", WITH_SCRIPTS)
def test_a_pages_scripts_run(reader: Reader, page: str) -> None:
    reader.forget()
    done = reader.run(tuple(each for each in scripts(page) if not is_server(each)))
    assert done.code == 0, f"{page}\n{done.out}\n{done.err}"
