"""A file that arrives in parts, which are put together when all are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from pando_shared.errors import IllegalTransition, InvalidRequest
from pando_shared.records import FileRecord
from pando_shared.stored_bytes import StoredThing, part_thing

#: How long after its creation an upload takes parts and can be completed.
UPLOAD_SECONDS = 3600
#: How many parts an upload can have, also those that are sent in vain.
MAX_PARTS = 2_000
#: How often each byte may arrive: the stock client sends a part thrice if the answers are lost.
MAX_COPIES = 3

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]


@dataclass(frozen=True, slots=True)
class UploadPart:
    """A piece of the file; its bytes lie in storage at `layout.upload_part(upload_id, id)`."""

    id: str
    bytes: int
    created_at: float


@dataclass(frozen=True, slots=True)
class Completion:
    """What a completed upload came to: the file, the parts in its order, its MD5 in hexadecimal."""

    file: FileRecord
    part_ids: tuple[str, ...]
    md5: str


@dataclass(frozen=True, slots=True)
class Upload:
    """`bytes` is the announced size of the file. Every method is a decision, without effects."""

    id: str
    tenant: str
    filename: str
    purpose: str
    bytes: int
    created_at: float
    status: UploadStatus = "pending"
    parts: tuple[UploadPart, ...] = ()
    completion: Completion | None = None

    @property
    def expires_at(self) -> float:
        return self.created_at + UPLOAD_SECONDS

    def overdue(self, now: float) -> bool:
        """Whether nobody ended it in time."""
        return self.status == "pending" and now >= self.expires_at

    def announced_as(self, other: Upload) -> bool:
        """Whether both were asked for with the same words."""
        mine = self.tenant, self.filename, self.purpose, self.bytes
        return mine == (other.tenant, other.filename, other.purpose, other.bytes)

    def kept_since(self, before: Upload) -> Mapping[StoredThing, int]:
        """What the parts count in storage now, of those that counted otherwise before."""
        now, then = self._kept(), before._kept()
        return {
            part_thing(id_): now.get(id_, 0) for id_ in now | then if now.get(id_) != then.get(id_)
        }

    def _kept(self) -> dict[str, int]:
        """Bytes by the ids of parts; those of an upload that has ended are deleted."""
        return {part.id: part.bytes for part in self.parts if self.status == "pending"}

    def require_pending(self, now: float) -> None:
        """Raises IllegalTransition if it has ended or its time is up."""
        if self.status == "expired" or self.overdue(now):
            when = datetime.fromtimestamp(self.expires_at, UTC).isoformat(timespec="seconds")
            raise IllegalTransition(
                f"upload {self.id} expired at {when}; create another and send its parts again"
            )
        if self.status != "pending":
            raise IllegalTransition(
                f"upload {self.id} is {self.status} already; create another to send more"
            )

    def with_part(self, part: UploadPart, now: float) -> Upload:
        """Raises IllegalTransition unless pending, InvalidRequest if it has more than its share."""
        self.require_pending(now)
        if len(self.parts) == MAX_PARTS:
            raise InvalidRequest(
                f"upload {self.id} has {MAX_PARTS} parts, the most it may have; send larger ones"
            )
        size = part.bytes + sum(earlier.bytes for earlier in self.parts)
        if size > MAX_COPIES * self.bytes:
            raise InvalidRequest(
                f"with this part upload {self.id} would hold {size} bytes, more than "
                f"{MAX_COPIES} times the {self.bytes} announced; announce the file's own size"
            )
        return replace(self, parts=(*self.parts, part))

    def chosen(self, part_ids: Sequence[str]) -> list[UploadPart]:
        """The parts of these ids, in their order, that make up the announced file.

        Raises:
            InvalidRequest: an id that is unknown or comes twice, or another size than announced.
        """
        parts = {part.id: part for part in self.parts}
        for place, part_id in enumerate(part_ids):
            if part_id not in parts:
                raise InvalidRequest(
                    f"upload {self.id} has no part {part_id!r}", param=f"part_ids.{place}"
                )
        if len(set(part_ids)) < len(part_ids):
            raise InvalidRequest("part_ids names a part twice", param="part_ids")
        found = [parts[part_id] for part_id in part_ids]
        size = sum(part.bytes for part in found)
        if size != self.bytes:
            raise InvalidRequest(
                f"the {len(found)} parts named hold {size} bytes, but {self.bytes} were announced "
                "when the upload was created; name all parts, each once",
                param="part_ids",
            )
        return found

    def cancelled(self, now: float) -> Upload:
        """Cancelling again changes nothing. Raises IllegalTransition if it ended otherwise."""
        if self.status == "cancelled":
            return self
        self.require_pending(now)
        return replace(self, status="cancelled")

    def expired(self, now: float) -> Upload:
        """The upload as it is to be remembered: expired if it is overdue."""
        return replace(self, status="expired") if self.overdue(now) else self

    def completed(self, completion: Completion) -> Upload:
        """Raises IllegalTransition unless pending. One begun in time may end a little later."""
        if self.status != "pending":
            raise IllegalTransition(f"upload {self.id} is {self.status} already")
        return replace(self, status="completed", completion=completion)
