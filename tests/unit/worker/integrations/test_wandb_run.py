"""W&B's run files, written without its servers, hold the run under the job's id."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from curve_jobs import JobWith

from pando_shared.integrations import Wandb
from pando_shared.jobs import Job
from pando_worker.integrations.context import ExportContext
from pando_worker.integrations.export import export_job

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import Record

pytest.importorskip("wandb", reason="the extra pando-worker[wandb]")


def records(content: bytes) -> Iterator[Record]:
    """What a run's file holds: LevelDB's log of one block, behind a header of 7 bytes.

    A record is its sum (4 bytes), its length (2), its type (1: whole), and then its data.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    assert 7 < len(content) < 32_768
    content = content[7:]
    while content:
        length, kind = struct.unpack("<HB", content[4:7])
        assert kind == 1
        yield Record.FromString(content[7 : 7 + length])
        content = content[7 + length :]


def test_the_run_has_the_jobs_id_and_its_steps(
    context: ExportContext,
    job_with: JobWith,
    end: Callable[[Job], Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    job = end(job_with(Wandb("pirates", "first", tags=("a", "b"))))
    export_job(job.id, context)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    found = list(records(file.read_bytes()))
    (run,) = (record.run for record in found if record.HasField("run"))
    assert (run.run_id, run.project, run.display_name) == (job.id, "pirates", "first")
    assert list(run.tags) == ["a", "b"]
    steps = [
        {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        for record in found
        if record.HasField("history")
    ]
    assert [(row["_step"], row["train_loss"]) for row in steps] == [("1", "0.5"), ("2", "0.25")]
    assert "valid_loss" not in steps[0]
    assert steps[1]["valid_loss"] == "0.75"
    assert not context.store.events(job.id, start=4)  # no warning
