"""docs/operating.md's ways to back up and to restore, typed as they stand there: what one machine
had another then has, to the last byte of an adapter."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docs_commands import Command
from docs_register import BACKUP, run_by
from docs_shell import Reader
from local_stack import LocalStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STOPPED = ("Back up", "Restore")
RUNNING = "Back up without stopping"
#: Known when a round ends, which may be after its job has; not a part of a job's state.
PEAKS = dict.fromkeys(("round_predicted_bytes", "round_measured_bytes"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A machine where something was trained."""
    place = tmp_path_factory.mktemp("first")
    with LocalStack(place / ".pando").running() as stack:
        reader = Reader(place / "work", stack)
        reader.job("lora")
        yield reader


def test_a_copy_of_a_stack_that_was_down_has_everything(first: Reader, tmp_path: Path) -> None:
    before = everything(first, tmp_path / "before")
    save, restore = (commands(title) for title in STOPPED)
    follow(first, save)
    assert everything(first, tmp_path / "still") == before
    second = another(tmp_path, first.folder / "pando.tar.gz")
    try:
        follow(second, restore)
        assert everything(second, tmp_path / "after") == before
    finally:
        second.stack.pando("down")


def test_a_copy_of_a_running_stacks_storage_has_all_but_live_events(
    first: Reader, tmp_path: Path
) -> None:
    before = everything(first, tmp_path / "before")
    save, *restore = commands(RUNNING)
    follow(first, (save,))
    second = another(tmp_path, first.folder / "storage.tar.gz")
    try:
        follow(second, tuple(restore))
        assert everything(second, tmp_path / "after") == before
    finally:
        second.stack.pando("down")


def commands(title: str) -> tuple[Command, ...]:
    return tuple(each for each in run_by(BACKUP) if each.section == title)


def follow(reader: Reader, typed: tuple[Command, ...]) -> None:
    for command in typed:
        done = reader.type(command)
        assert done.code == 0, f"{command.place}: {command.text}\n{done.out}\n{done.err}"


def another(place: Path, archive: Path) -> Reader:
    """A machine that has nothing but a copy."""
    reader = Reader(place / "second" / "work", LocalStack(place / "second" / ".pando"))
    shutil.copy(archive, reader.folder)
    return reader


def everything(reader: Reader, folder: Path) -> dict[str, Any]:
    """What users see of a machine: lists, events, and the bytes of an adapter."""
    lists: dict[str, Any] = {
        name: reader.stack.pando(name, "--json").json for name in ("list", "files", "models")
    }
    lists["list"] = [{**job, **PEAKS} for job in lists["list"]["data"]]
    job_id = lists["list"][0]["id"]
    done = reader.stack.pando("download", job_id, "-o", str(folder))
    assert done.code == 0, done.out + done.err
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "adapter_model.safetensors" in files
    # A base is as old as the API that offers it.
    adapters = [each for each in lists["models"]["data"] if each["owned_by"] != "pando"]
    lists["models"] = adapters
    return {**lists, "events": reader.stack.pando("logs", job_id, "--json").out, "bytes": files}
