"""Where a base model's files lie on this machine."""

from __future__ import annotations

from pathlib import Path

from pando_shared.errors import InvalidRequest

#: What training needs of a hub repository; other formats of the same weights stay there.
_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]


def model_folder(source: str) -> Path:
    """The folder of a model given as a folder or as a hub id such as `meta-llama/Llama-3.1-8B`.

    A hub id is looked up in Hugging Face's local cache, then fetched if the hub can be reached.

    Raises:
        InvalidRequest: there is no such folder, and no such model on the hub or no way to it.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise InvalidRequest(f"base model folder {source!r} does not exist", param="model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=_WANTED, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(source, allow_patterns=_WANTED))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InvalidRequest(
            f"base model {source!r} is no folder here, and the Hugging Face hub does not give it: "
            f"{error}",
            param="model",
        ) from error
