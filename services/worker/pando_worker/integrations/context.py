"""What writing to other tools needs from its surroundings."""

from __future__ import annotations

from dataclasses import dataclass

from pando_shared.clock import Clock
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store import Store


@dataclass(frozen=True, slots=True)
class ExportContext:
    """`settings` has the tools' addresses."""

    store: Store
    storage: Storage
    clock: Clock
    settings: Settings
