"""What a tenant keeps in storage, counted in the store so that nobody need walk storage to know."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum


class StoredKind(StrEnum):
    """What counts: all that a tenant can delete by itself."""

    FILES = "files"
    #: Parts of uploads that are not completed yet.
    UPLOADS = "uploads"
    #: Finished ones, and those of named checkpoints.
    ADAPTERS = "adapters"


@dataclass(frozen=True, slots=True)
class StoredThing:
    """A file, a part or an adapter, by its id or name."""

    kind: StoredKind
    id: str

    def __str__(self) -> str:
        """As a store writes it; no kind holds a space."""
        return f"{self.kind.value} {self.id}"

    @classmethod
    def parse(cls, text: str) -> StoredThing:
        kind, _, id_ = text.partition(" ")
        return cls(StoredKind(kind), id_)


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes that a tenant keeps, of each kind."""

    files: int = 0
    uploads: int = 0
    adapters: int = 0

    @classmethod
    def of(cls, bytes_by_kind: Mapping[str, int]) -> StoredBytes:
        return cls(**{kind.value: bytes_by_kind.get(kind.value, 0) for kind in StoredKind})

    @property
    def total(self) -> int:
        return self.files + self.uploads + self.adapters


@dataclass(frozen=True, slots=True)
class Hold:
    """Whether bytes were counted ahead of their record, and what the tenant keeps with them."""

    taken: bool
    stored: StoredBytes


def miscounted(
    counted: Mapping[StoredThing, int],
    held: Container[StoredThing],
    wanted: Mapping[StoredThing, int],
) -> dict[StoredThing, int]:
    """What is to count otherwise than it does, so that of files and adapters all that count are
    `wanted`, and what is held while it is written. Parts are left as they are."""
    changes = {thing: size for thing, size in wanted.items() if counted.get(thing, 0) != size}
    for thing in counted.keys() - wanted.keys():
        if thing.kind is not StoredKind.UPLOADS and thing not in held:
            changes[thing] = 0
    return changes


def file_thing(file_id: str) -> StoredThing:
    return StoredThing(StoredKind.FILES, file_id)


def part_thing(part_id: str) -> StoredThing:
    return StoredThing(StoredKind.UPLOADS, part_id)


def adapter_thing(name: str) -> StoredThing:
    return StoredThing(StoredKind.ADAPTERS, name)
