"""The store in memory: for tests, and for one process that needs nothing kept."""

from pando_shared.store.stub.store import StubStore

__all__ = ["StubStore"]
