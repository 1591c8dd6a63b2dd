"""A data file named on the command line: uploaded if it is a path, used as it is if an id."""

from __future__ import annotations

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
    path = Path(given).expanduser()
    if path.is_file():
        return str(api.upload(path)["id"])
    if _FILE_ID.fullmatch(given):
        return given
    what = "is a folder" if path.is_dir() else "does not exist"
    raise UsageError(
        f"{given} {what}", hint="Give a .jsonl file, or an id as `pando files` lists them."
    )
