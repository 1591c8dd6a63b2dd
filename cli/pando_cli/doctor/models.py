"""The base models that are offered: on this machine, whole, and in safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_cli.rendering import human_bytes
from pando_shared.catalogue import read_base_model
from pando_shared.errors import InvalidRequest

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl")


def models(sources: Mapping[str, str]) -> list[Finding]:
    """One finding a model; `sources` are names to folders or hub ids."""
    if not sources:
        return [skipped("base models", "none is configured (PANDO_MODELS)")]
    return [model(name, source) for name, source in sources.items()]


def model(name: str, source: str) -> Finding:
    title = f"base model {name}"
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _in_folder(title, name, folder)
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        return fail(title, f"there is no folder {source}", "Correct --model or PANDO_MODELS.")
    try:
        return _in_folder(title, name, Path(snapshot_download(source, local_files_only=True)))
    except HFValidationError:
        return fail(title, f"{source} is no id of a model", "Correct --model or PANDO_MODELS.")
    except LocalEntryNotFoundError:
        return _not_cached(title, source)


def _not_cached(title: str, source: str) -> Finding:
    found, mend = f"{source} is not in Hugging Face's cache", f"Fetch it: `hf download {source}`."
    if constants.HF_HUB_OFFLINE:
        return fail(title, f"{found}, and HF_HUB_OFFLINE forbids to fetch it", mend)
    return warn(title, f"{found}; the first start will fetch it", mend)


def _in_folder(title: str, name: str, folder: Path) -> Finding:
    mend = "Fetch or copy the model's files again."
    missing = _missing_parts(folder)
    if missing:
        return fail(title, f"{folder} lacks {', '.join(missing)}", mend)
    if not any(folder.glob("*.safetensors")) and _pickles(folder):
        return fail(
            title,
            f"{folder} has pickled weights only ({', '.join(_pickles(folder))})",
            "Pickles can run code when they are loaded, so Pando does not read them. Load the "
            "model with transformers and save_pretrained() it, which writes safetensors.",
        )
    try:
        found = read_base_model(name, folder)
    except InvalidRequest as error:
        return fail(title, error.message, mend)
    return ok(title, f"{folder}, {human_bytes(found.weight_bytes)} of safetensors")


def _pickles(folder: Path) -> list[str]:
    return sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))


def _missing_parts(folder: Path) -> list[str]:
    """Files of a model in several parts that its index names and that are not there."""
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        parts = sorted({str(part) for part in index["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [part for part in parts if not (folder / part).is_file()]
