"""A job's exact training state on disk: weights, moments, and its place in the data."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

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


def save_checkpoint(resident: ResidentJob, folder: Path) -> None:
    """Write `state.safetensors` and `manifest.json` into a fresh folder.

    Only whole optimizer steps are kept: data order, learning rate and dropout follow from the
    step, and a step in progress is done again from its first sequence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vector = resident.adapter.vector
    tensors = {"value": vector.value, "mean": vector.mean, "square": vector.square}
    tensors |= {f"columns.{name}": t for name, t in resident.adapter.columns.items()}
    state = folder / "state.safetensors"
    save_file({name: tensor.detach().cpu() for name, tensor in tensors.items()}, state)
    manifest = {
        "version": _VERSION,
        "step": resident.step,
        "trained_tokens": resident.trained_tokens,
        "best_valid_loss": _finite(resident.best_valid_loss),
        "validations_without_gain": resident.validations_without_gain,
        "sha256": hashlib.sha256(state.read_bytes()).hexdigest(),
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
