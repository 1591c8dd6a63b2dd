"""Who else may read or change the home, and the files in it that hold secrets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_cli.home import Home


def home_mode(home: Home) -> Finding:
    name = "home"
    try:
        status = home.root.stat()
    except FileNotFoundError:
        return skipped(name, f"{home.root} is not there yet; `pando up` makes it")
    except OSError as error:
        return fail(
            name, f"{home.root}: {error.strerror}", "Run this as the user who runs the stack."
        )
    mode = stat.S_IMODE(status.st_mode)
    mend = f"`chmod 700 {home.root}`"
    if not home.root.is_dir():
        return fail(name, f"{home.root} is no folder", "Give another one with --home.")
    if not os.access(home.root, os.R_OK | os.W_OK | os.X_OK):
        return fail(
            name,
            f"{home.root} is not ours to write (mode {mode:03o})",
            "Run this as the user who runs the stack, or give another with --home.",
        )
    if mode & 0o022:
        return fail(name, f"others may write to {home.root} (mode {mode:03o})", mend)
    if mode & 0o055:
        return warn(name, f"others may read {home.root} (mode {mode:03o})", mend)
    return ok(name, f"{home.root}, for its owner only")


def key_files(home: Home) -> Finding:
    name = "key files"
    files = (
        home.client_config,
        home.stack_record,
        home.redis / "address.json",
        home.redis / "redis.conf",
    )
    present = [file for file in files if _is_file(file)]
    if not present:
        return skipped(name, f"there are none in {home.root} yet")
    open_ones = [file for file in present if stat.S_IMODE(file.stat().st_mode) & 0o077]
    if open_ones:
        paths = " ".join(map(str, open_ones))
        return fail(
            name,
            f"others may read secrets: {', '.join(f.name for f in open_ones)}",
            f"`chmod 600 {paths}`; if anybody else was on this machine, make a new key "
            "(`pando keys create`) and revoke the old one.",
        )
    foreign = [file.name for file in present if file.stat().st_uid != os.geteuid()]
    if foreign:
        return warn(
            name,
            f"another user's: {', '.join(foreign)}",
            "Run `pando` as the user who runs the stack, or give them to that user (chown).",
        )
    return ok(name, f"{len(present)}, for their owner only")


def _is_file(path: Path) -> bool:
    """False too where we may not even look; the home's own check tells that."""
    try:
        return path.is_file()
    except PermissionError:
        return False
