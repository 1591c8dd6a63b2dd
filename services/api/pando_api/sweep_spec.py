"""From a sweep's create body to the jobs it asks for, all of them or none."""

from __future__ import annotations

from dataclasses import replace

from pando_api.job_spec import job_spec
from pando_api.knobs import merged_knobs
from pando_api.schemas.job_create import JobCreate
from pando_api.schemas.sweeps import SweepCreate
from pando_api.services import Services
from pando_api.site import Site
from pando_api.sweep_grid import Point, points, trial_bodies, words
from pando_shared.errors import InvalidRequest, JobTooLarge
from pando_shared.jobs import HalvingRule, JobSpec


def trial_specs(services: Services, site: Site, tenant: str, body: SweepCreate) -> list[JobSpec]:
    """The trials' specifications, without their group.

    Raises:
        InvalidRequest: says what is wrong, and of a single trial which.
        NotFound: a file that does not exist, or is another tenant's.
        JobTooLarge: no worker could ever hold one of the trials.
    """
    if "group" in merged_knobs(body):
        raise InvalidRequest(
            "a sweep's trials are grouped by its id: leave group out", param="group"
        )
    halving = _halving(body)
    tried = points(body)
    bodies = trial_bodies(body, tried)
    return [
        replace(_spec(services, site, tenant, trial, point, number), halving=halving)
        for number, (trial, point) in enumerate(zip(bodies, tried, strict=True), 1)
    ]


def _halving(body: SweepCreate) -> HalvingRule | None:
    """On by default where there is a loss to go by; an explicit null turns it off."""
    if body.halving is None:
        asked_for = "halving" not in body.model_fields_set
        return HalvingRule() if asked_for and body.validation_file is not None else None
    if body.validation_file is None:
        raise InvalidRequest(
            "halving compares trials by validation loss: give a validation_file, or leave halving "
            "out",
            param="halving",
        )
    return HalvingRule(body.halving.eta, body.halving.rungs)


def _spec(
    services: Services, site: Site, tenant: str, body: JobCreate, point: Point, number: int
) -> JobSpec:
    try:
        return job_spec(services, site, tenant, body)
    except InvalidRequest as error:
        param = error.param or ""
        heads = {name.split(".")[0] for name in point}
        if param.split(".")[0] not in heads and not isinstance(error, JobTooLarge):
            raise
        raise type(error)(
            f"trial {number} ({words(point)}): {error.message}", param=param, code=error.code
        ) from error
