"""From a create body to the job it asks for, or to the reason why it cannot be."""

from __future__ import annotations

from pando_api.adapter_targets import require_targets
from pando_api.integrations import wanted_integrations
from pando_api.knobs import adapter_config, merged_knobs, training_config
from pando_api.memory_fit import require_fit
from pando_api.schemas.job_create import JobCreate
from pando_api.services import Services
from pando_api.site import Site
from pando_shared.catalogue import BaseModel
from pando_shared.errors import InvalidRequest, NotFound
from pando_shared.jobs import JobSpec, Priority
from pando_shared.records import FileRecord


def job_spec(services: Services, site: Site, tenant: str, body: JobCreate) -> JobSpec:
    """Check everything that can be known before the data is read.

    Raises:
        InvalidRequest: says what is wrong, and what there is instead.
        NotFound: a file that does not exist, or is another tenant's.
        JobTooLarge: no worker could ever hold the job.
    """
    _require_supported(body)
    integrations = wanted_integrations(body.integrations or (), services.settings.integrations)
    base = _base(services, body.model)
    knobs = merged_knobs(body)
    adapter = adapter_config(knobs)
    training = training_config(knobs, body.seed)
    require_targets(base, adapter)
    if training.max_seq_length is not None and training.max_seq_length > base.max_positions:
        raise InvalidRequest(
            f"max_seq_length {training.max_seq_length} is more than the {base.max_positions} "
            f"positions of {base.name}",
            param="max_seq_length",
        )
    training_file = _data_file(services, tenant, body.training_file, "training_file")
    if body.validation_file is not None:
        _data_file(services, tenant, body.validation_file, "validation_file")
    require_fit(site, base, adapter)
    return JobSpec(
        tenant=tenant,
        model=base.name,
        training_file=training_file.id,
        adapter=adapter,
        training=training,
        validation_file=body.validation_file,
        suffix=body.suffix or None,
        metadata=body.metadata or {},
        priority=Priority(knobs.get("priority", Priority.NORMAL)),
        group=knobs.get("group"),
        integrations=integrations,
    )


def _require_supported(body: JobCreate) -> None:
    if body.method is not None and body.method.type != "supervised":
        raise InvalidRequest(
            f"method {body.method.type!r} is not supported; 'supervised' is", param="method.type"
        )


def _base(services: Services, name: str) -> BaseModel:
    base = services.catalogue.get(name)
    if base is None:
        raise InvalidRequest(
            f"there is no base model {name!r}; there are: {', '.join(sorted(services.catalogue))}",
            param="model",
            code="model_not_found",
        )
    return base


def _data_file(services: Services, tenant: str, file_id: str, param: str) -> FileRecord:
    try:
        record = services.store.get_file(tenant, file_id)
    except NotFound as error:
        raise NotFound(f"no file {file_id!r}", param=param) from error
    if record.purpose != "fine-tune":
        raise InvalidRequest(
            f"file {file_id!r} has purpose {record.purpose!r}; training needs 'fine-tune'",
            param=param,
        )
    return record
