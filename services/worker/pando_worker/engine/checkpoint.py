"""A job's exact training state on disk: weights, moments, and its place in the data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pando_shared.errors import TrainingFailed
from pando_worker.engine.job import ResidentJob

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint holds beside its tensors."""

    step: int
    trained_tokens: int
    best_valid_loss: float
    validations_without_gain: int


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All that a job's training goes on from after its last whole step: 12 bytes a parameter.

    Data order, learning rate and dropout follow from the step; a step in progress is not kept,
    and is done again from its first sequence.
    """

    manifest: Manifest
    tensors: Mapping[str, Tensor]
    #: Recorded behind copies that a GPU still makes; the tensors hold nothing before it.
    copied: torch.cuda.Event | None = None


def training_state(resident: ResidentJob) -> TrainingState:
    """The state in the job's own tensors: true until the job trains on."""
    vector = resident.adapter.vector
    tensors = {"value": vector.value, "mean": vector.mean, "square": vector.square}
    tensors |= {f"columns.{name}": t for name, t in resident.adapter.columns.items()}
    manifest = Manifest(
        step=resident.step,
        trained_tokens=resident.trained_tokens,
        best_valid_loss=resident.best_valid_loss,
        validations_without_gain=resident.validations_without_gain,
    )
    return TrainingState(manifest, {name: tensor.detach() for name, tensor in tensors.items()})


def snapshot(resident: ResidentJob) -> TrainingState:
    """A copy of the state, in the host's memory, that stays as it is while the job trains on.

    From a GPU it is copied in the GPU's own order, before whatever is asked of it next; this
    returns at once.
    """
    state = training_state(resident)
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
    """Write `state.safetensors` and `manifest.json` into a fresh folder.

    Raises:
        OSError: the folder's disk takes nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if state.copied is not None:
        state.copied.synchronize()
    file = folder / "state.safetensors"
    try:
        save_file({name: tensor.cpu() for name, tensor in state.tensors.items()}, file)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    manifest = {
        "version": _VERSION,
        "step": state.manifest.step,
        "trained_tokens": state.manifest.trained_tokens,
        "best_valid_loss": _finite(state.manifest.best_valid_loss),
        "validations_without_gain": state.manifest.validations_without_gain,
        "sha256": sha256,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def restore_checkpoint(resident: ResidentJob, folder: Path) -> None:
    """Put a freshly joined job exactly where `save_checkpoint` left it.

    Raises:
        TrainingFailed: the checkpoint is damaged or belongs to another adapter.
    """
    manifest = read_manifest(folder)
    tensors = load_file(folder / "state.safetensors")
    vector = resident.adapter.vector
    if tensors["value"].shape != vector.value.shape:
        raise TrainingFailed(
            f"the checkpoint holds {tensors['value'].numel()} numbers, the adapter "
            f"{vector.value.numel()}: it was written for another configuration",
            code="checkpoint_mismatch",
        )
    for name, target in (
        ("value", vector.value),
        ("mean", vector.mean),
        ("square", vector.square),
    ):
        target.copy_(tensors[name])
    vector.refresh()
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
        found = hashlib.sha256((folder / "state.safetensors").read_bytes()).hexdigest()
        whole = found == manifest["sha256"]
        parsed = Manifest(
            step=int(manifest["step"]),
            trained_tokens=int(manifest["trained_tokens"]),
            best_valid_loss=_or_infinity(manifest["best_valid_loss"]),
            validations_without_gain=int(manifest["validations_without_gain"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingFailed(
            f"checkpoint {folder.name} cannot be read: {error!r}", code="checkpoint_damaged"
        ) from error
    if not whole:
        raise TrainingFailed(
            f"checkpoint {folder.name} is damaged: its tensors are not those it was written with",
            code="checkpoint_damaged",
        )
    return parsed


def _or_infinity(value: float | None) -> float:
    return math.inf if value is None else float(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def parameters_digest(resident: ResidentJob) -> str:
    """SHA-256 of the weights and moments: equal digests are equal training states, bit for bit."""
    sha = hashlib.sha256()
    vector = resident.adapter.vector
    for tensor in (vector.value, vector.mean, vector.square):
        sha.update(tensor.detach().cpu().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
