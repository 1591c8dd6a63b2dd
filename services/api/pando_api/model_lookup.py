"""Finding a model by the name a user writes: a base, or one of the tenant's adapters."""

from __future__ import annotations

from pando_api.services import Services
from pando_shared.catalogue import BaseModel
from pando_shared.errors import NotFound
from pando_shared.records import ModelRecord


def find_model(services: Services, tenant: str, name: str) -> BaseModel | ModelRecord:
    """Raises NotFound, naming the bases there are."""
    base = services.catalogue.get(name)
    if base is not None:
        return base
    try:
        return services.store.get_model(tenant, name)
    except NotFound as error:
        bases = ", ".join(sorted(services.catalogue))
        raise NotFound(
            f"there is no model {name!r}; base models: {bases}; your adapters: GET /v1/models",
            param="model",
            code="model_not_found",
        ) from error
