"""An exported adapter, ready to generate with."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from typing import Any

from pando_shared.errors import InvalidRequest, NotFound, Unavailable
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.loading import load_export
from pando_worker.host import Host

log = logging.getLogger(__name__)


def adapter_layers(host: Host, base: BaseModel, path: str | None) -> Mapping[str, Any]:
    """The layers of the adapter that storage has at `path`; none of the base itself.

    Raises:
        NotFound: it has been deleted, maybe while it was read.
        Unavailable: its files cannot be read, or are not what was once written.
        InvalidRequest: it was made for a base with other layers.
    """
    if path is None:
        return {}
    try:
        return _read(host, base, path)
    except InvalidRequest:
        raise
    except Exception as error:  # whoever asked learns nothing of paths and file formats
        if not host.storage.exists(path):
            raise NotFound("the adapter has been deleted") from error
        log.exception("the adapter %s cannot be read", path)
        raise Unavailable(
            "the adapter's files cannot be read; if it stays so, tell the operator, whose worker's "
            "log says why"
        ) from error


def _read(host: Host, base: BaseModel, path: str) -> Mapping[str, Any]:
    here = host.storage.local_path(path)
    if here is not None and here.exists():
        return load_export(base, here)
    copy = host.cache / "samples" / path
    try:
        host.storage.download_folder(path, copy)
        return load_export(base, copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
