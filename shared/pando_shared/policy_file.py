"""The policy file: read once, or watched for as long as a process runs."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from pando_shared.clock import Clock, SystemClock
from pando_shared.errors import InvalidPolicy
from pando_shared.policy import Policy
from pando_shared.policy_parser import as_document, parse_policy

__all__ = ["SETTLE_SECONDS", "PolicyFile", "as_document", "parse_policy", "read_policy"]

#: A file that was changed less than this long ago may be half written, and half a file may well
#: be a policy, of other figures.
SETTLE_SECONDS = 1.0

#: Change, modification, size and inode; None: there is no such file.
_Version = tuple[int, int, int, int] | None

_log = logging.getLogger(__name__)


def read_policy(path: Path) -> Policy:
    """The policy that stands in a file.

    Raises:
        InvalidPolicy: it cannot be read, or something in it is wrong; has all that is.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidPolicy(str(path), [f"cannot be read: {error.strerror}"]) from error
    try:
        # Some editors begin a file with a byte order mark.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidPolicy(str(path), [f"line {line}: not UTF-8"]) from error
    return parse_policy(text, str(path))


class PolicyFile:
    """The policy as its file has it now; safe to ask from any thread, as often as one likes.

    A changed file is read again once it has been left alone for `SETTLE_SECONDS`. While it is
    wrong or gone, the last good policy stays in force, at first the defaults, and `problem` says
    what is the matter. Without a path, the policy is the default for good.
    """

    def __init__(self, path: Path | None, clock: Clock | None = None):
        self._path = path
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._policy = Policy()
        self._error: InvalidPolicy | None = None
        self._read_once = False
        #: What was read last, and what was seen last, since when.
        self._version: _Version = None
        self._seen: tuple[_Version, float] | None = None

    def current(self) -> Policy:
        with self._lock:
            self._refresh()
            return self._policy

    @property
    def problem(self) -> str | None:
        """Why the policy in force is not the file's, or None."""
        with self._lock:
            self._refresh()
            return None if self._error is None else self._error.message

    def require(self) -> Policy:
        """The file's policy, for a process that must not start on another one.

        Raises:
            InvalidPolicy: as `read_policy`.
        """
        with self._lock:
            self._refresh()
            if self._error is not None:
                raise self._error
            return self._policy

    def _refresh(self) -> None:
        if self._path is None:
            return
        version = _version(self._path)
        if self._read_once and (version == self._version or not self._settled(version)):
            return
        self._read_once, self._version = True, version
        try:
            self._policy, self._error = read_policy(self._path), None
        except InvalidPolicy as error:
            self._error = error
            _log.error("%s\nThe policy in force stays.", error.message)
        else:
            _log.info("the policy of %s is in force", self._path)

    def _settled(self, version: _Version) -> bool:
        """Whether it has been so for a while, by the file's own time or as we have seen it."""
        now = self._clock.now()
        if self._seen is None or self._seen[0] != version:
            self._seen = version, now
        changed_at = self._seen[1]
        if version is not None:
            changed_at = min(changed_at, max(version[:2]) / 1e9)
        return now - changed_at >= SETTLE_SECONDS


def _version(path: Path) -> _Version:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino
