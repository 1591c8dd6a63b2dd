"""A data file named on the command line: uploaded if it is a path, used as it is if an id."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pando_cli.api import Api
from pando_cli.errors import UsageError

_FILE_ID = re.compile(r"file-[0-9A-Za-z_-]+")


def file_id(api: Api, given: str) -> str:
    """The id of `given`, which is a path (then it is uploaded) or an id already.

    Raises:
        UsageError: there is no such file here, and it does not look like an id.
    """
    path = Path(os.path.expanduser(given))  # noqa: PTH111  (Path's own fails for ~nobody)
    if path.is_file():
        return str(api.upload(path)["id"])
    if _FILE_ID.fullmatch(given):
        return given
    raise UsageError(
        f"{given} {_lack(path)}", hint="Give a .jsonl file, or an id as `pando files` lists them."
    )


def _lack(path: Path) -> str:
    if path.is_dir():
        return "is a folder"
    return "is a pipe or device; save it as a file first" if path.exists() else "does not exist"
