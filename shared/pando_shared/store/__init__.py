"""The live index: jobs, files, models, keys, workers, rounds, events."""

from pando_shared.store.base import Change, Store

__all__ = ["Change", "Store"]
