"""Records of the adapters of tenants, under the names that they are sampled by."""

from __future__ import annotations

from typing import Protocol

from pando_shared.records import ModelRecord


class ModelStore(Protocol):
    """The part of `Store` that knows models. Their weights are in storage."""

    def put_model(self, record: ModelRecord) -> None: ...

    def get_model(self, tenant: str, name: str) -> ModelRecord:
        """Raises NotFound, also for another tenant's model."""
        ...

    def list_models(self, tenant: str) -> list[ModelRecord]:
        """Newest first."""
        ...

    def delete_model(self, tenant: str, name: str) -> None:
        """Raises NotFound."""
        ...
