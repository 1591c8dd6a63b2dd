"""A job's exact training state on disk: weights, moments, and its place in the data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pando_shared.errors import TrainingFailed
from pando_worker.engine.job import ResidentJob
from pando_worker.engine.row_state import Kept, RowState, load_rows, row_state, save_rows

#: The code of a failure that an earlier checkpoint, or a new start, may not have.
CHECKPOINT_DAMAGED = "checkpoint_damaged"

_VERSION = 2
_STATE = "state.safetensors"
_MEMORY = "memory."


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint holds beside its tensors.

    `since`: the name of the checkpoint that it builds on, None if it stands alone; `share`: how
    many times all rows of a MEFT job have been written since the last that does; `row_shape`: its
    layers, experts, keys of an expert and their width, None of other jobs.
    """

    step: int
    trained_tokens: int
    best_valid_loss: float
    validations_without_gain: int
    since: str | None = None
    share: float = 0.0
    row_shape: tuple[int, ...] | None = None

    def kept(self, name: str) -> Kept:
        """What later checkpoints may build on, once this one is kept under a name."""
        return Kept(name, self.step, self.share)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All that a job's training goes on from after its last whole step: 12 bytes a parameter.

    Data order, learning rate and dropout follow from the step; a step in progress is not kept,
    and is done again from its first sequence. Of a MEFT job's rows, `rows` are those that changed
    since its last checkpoint.
    """

    manifest: Manifest
    tensors: Mapping[str, Tensor]
    rows: RowState | None = None
    #: Recorded behind copies that a GPU still makes; the tensors hold nothing before it.
    copied: torch.cuda.Event | None = None


def training_state(resident: ResidentJob) -> TrainingState:
    """The state in the job's own tensors: true until the job trains on."""
    return _state(resident, copied=False)


def _state(resident: ResidentJob, copied: bool) -> TrainingState:
    memory = resident.adapter.memory
    rows = None if memory is None else row_state(memory, resident.kept, copied)
    vector = resident.adapter.vector
    tensors = {"value": vector.value, "mean": vector.mean, "square": vector.square}
    tensors |= {f"columns.{name}": t for name, t in resident.adapter.columns.items()}
    if memory is not None:
        tensors |= {f"{_MEMORY}{name}": tensor for name, tensor in memory.state().items()}
    manifest = Manifest(
        step=resident.step,
        trained_tokens=resident.trained_tokens,
        best_valid_loss=resident.best_valid_loss,
        validations_without_gain=resident.validations_without_gain,
        since=None if rows is None else rows.since,
        share=0.0 if rows is None else rows.share,
        row_shape=None if rows is None else astuple(rows.shape),
    )
    tensors = {name: tensor.detach() for name, tensor in tensors.items()}
    return TrainingState(manifest, tensors, rows)


def snapshot(resident: ResidentJob) -> TrainingState:
    """A copy of the state, in the host's memory, that stays as it is while the job trains on.

    From a GPU it is copied in the GPU's own order, before whatever is asked of it next; this
    returns at once.
    """
    state = _state(resident, copied=True)
    if not resident.adapter.vector.value.is_cuda:
        return replace(state, tensors={name: t.clone() for name, t in state.tensors.items()})
    copies = {}
    for name, tensor in state.tensors.items():
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        copies[name] = pinned.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(resident.adapter.vector.value.device))
    return replace(state, tensors=copies, copied=copied)


def save_checkpoint(state: TrainingState, folder: Path) -> None:
    """Write `state.safetensors`, the rows' files and `manifest.json` into a fresh folder.

    Raises:
        OSError: the folder's disk takes nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if state.copied is not None:
        state.copied.synchronize()
    files = [_STATE]
    try:
        save_file({name: tensor.cpu() for name, tensor in state.tensors.items()}, folder / _STATE)
        if state.rows is not None:
            files += save_rows(state.rows, folder)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    manifest = {
        "version": _VERSION,
        "step": state.manifest.step,
        "trained_tokens": state.manifest.trained_tokens,
        "best_valid_loss": _finite(state.manifest.best_valid_loss),
        "validations_without_gain": state.manifest.validations_without_gain,
        "since": state.manifest.since,
        "share": state.manifest.share,
        "row_shape": state.manifest.row_shape,
        "files": {name: _sha256(folder / name) for name in files},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def restore_checkpoint(resident: ResidentJob, folder: Path, *earlier: Path) -> None:
    """Put a freshly joined job exactly where `save_checkpoint` left it.

    `earlier`: the checkpoints that this one builds on, newest first, down to one that stands alone.

    Raises:
        TrainingFailed: a checkpoint is damaged or belongs to another adapter.
    """
    manifests = [read_manifest(each) for each in (folder, *earlier)]
    manifest = manifests[0]
    built_on = [each.name for each in earlier]
    if [each.since for each in manifests] != [*built_on, None]:
        raise TrainingFailed(
            f"checkpoint {folder.name} builds on others, of which only {built_on} are there",
            code=CHECKPOINT_DAMAGED,
        )
    tensors = load_file(folder / _STATE)
    vector, memory = resident.adapter.vector, resident.adapter.memory
    row_shape = None if memory is None else astuple(memory.rows.shape)
    if tensors["value"].shape != vector.value.shape or manifest.row_shape != row_shape:
        raise TrainingFailed(
            f"the checkpoint holds {tensors['value'].numel()} numbers and rows {manifest.row_shape}"
            f", the adapter {vector.value.numel()} and {row_shape}: it was written for another "
            "configuration",
            code="checkpoint_mismatch",
        )
    for name, target in (
        ("value", vector.value),
        ("mean", vector.mean),
        ("square", vector.square),
    ):
        target.copy_(tensors[name])
    vector.refresh()
    if memory is not None:
        for each in reversed((folder, *earlier)):
            load_rows(memory, each)
        arranged = {n: t for n, t in tensors.items() if n.startswith(_MEMORY)}
        memory.restore({name.removeprefix(_MEMORY): t for name, t in arranged.items()})
    resident.kept = manifest.kept(folder.name)
    for module, columns in resident.adapter.columns.items():
        columns.copy_(tensors[f"columns.{module}"])
    resident.abandon_batch()
    resident.step = manifest.step
    resident.trained_tokens = manifest.trained_tokens
    resident.best_valid_loss = manifest.best_valid_loss
    resident.validations_without_gain = manifest.validations_without_gain


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint that is whole.

    Raises:
        TrainingFailed: missing, unreadable, or its tensors' bytes are not those it was made for.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        files = dict(manifest["files"])
        whole = _STATE in files and all(_sha256(folder / n) == files[n] for n in files)
        parsed = Manifest(
            step=int(manifest["step"]),
            trained_tokens=int(manifest["trained_tokens"]),
            best_valid_loss=_or_infinity(manifest["best_valid_loss"]),
            validations_without_gain=int(manifest["validations_without_gain"]),
            since=None if manifest["since"] is None else str(manifest["since"]),
            share=float(manifest["share"]),
            row_shape=None if manifest["row_shape"] is None else tuple(manifest["row_shape"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingFailed(
            f"checkpoint {folder.name} cannot be read: {error!r}", code=CHECKPOINT_DAMAGED
        ) from error
    if not whole:
        raise TrainingFailed(
            f"checkpoint {folder.name} is damaged: its tensors are not those it was written with",
            code=CHECKPOINT_DAMAGED,
        )
    return parsed


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _or_infinity(value: float | None) -> float:
    return math.inf if value is None else float(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def parameters_digest(resident: ResidentJob) -> str:
    """SHA-256 of the weights and moments: equal digests are equal training states, bit for bit."""
    sha = hashlib.sha256()
    vector = resident.adapter.vector
    memory = resident.adapter.memory
    rows: tuple[Tensor, ...] = ()
    if memory is not None:
        memory.settle()
        rows = (memory.rows.value, memory.rows.mean, memory.rows.square, memory.rows.counts)
    for tensor in (vector.value, vector.mean, vector.square, *rows):
        sha.update(tensor.detach().cpu().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
