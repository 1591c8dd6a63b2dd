"""Putting the API together."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from fastapi import FastAPI

from pando_api import answers, errors
from pando_api.background import while_serving
from pando_api.event_watch import EventWatch
from pando_api.failed_logins import FailedLogins
from pando_api.job_quota import JobQuota
from pando_api.metrics import Metrics
from pando_api.middleware import BodyLimit, RequestContext
from pando_api.open_streams import OpenStreams
from pando_api.openapi_document import document_of, operation_id
from pando_api.request_rate import RequestRate
from pando_api.routes import (
    chat,
    checkpoints,
    completions,
    docs,
    estimate,
    events,
    files,
    health,
    jobs,
    keys,
    metrics,
    models,
    queue,
    sweeps,
    uploads,
    usage,
    webhooks,
    workers,
)
from pando_api.services import Services
from pando_api.storage_quota import StorageQuota
from pando_shared.catalogue import BaseModel
from pando_shared.clock import Clock, SystemClock
from pando_shared.policy_file import PolicyFile
from pando_shared.settings import MIB, Settings
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.messages import Messenger

#: Everything but a file, or a part of one, is read whole; nobody needs more than this.
MAX_JSON_BYTES = 8 * MIB

_TENANT_ROUTERS = (
    files.router,
    uploads.router,
    jobs.router,
    sweeps.router,
    events.router,
    checkpoints.router,
    estimate.router,
    models.router,
    completions.router,
    chat.router,
    workers.router,
    queue.router,
    usage.router,
    webhooks.router,
    keys.router,
)


def create_app(
    settings: Settings,
    store: Store,
    storage: Storage,
    messenger: Messenger,
    catalogue: Mapping[str, BaseModel],
    clock: Clock,
) -> FastAPI:
    """The HTTP API over these collaborators. Touches none of them until a request comes."""
    app = FastAPI(
        title="Pando",
        lifespan=while_serving,
        generate_unique_id_function=operation_id,
        version=version("pando-api"),
        summary="Trains many adapters on one frozen base. Speaks OpenAI's fine-tuning protocol.",
        # FastAPI's own pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        # They would lead to wherever the request's Host says, by http behind a proxy not trusted.
        redirect_slashes=False,
    )
    measured = Metrics(store, settings, clock)
    policies = PolicyFile(settings.policy_file, clock)
    quota = JobQuota(policies, store)
    app.state.services = Services(
        settings,
        store,
        storage,
        messenger,
        catalogue,
        clock,
        measured,
        policies,
        quota,
        RequestRate(policies, store, clock),
        FailedLogins(store, clock, measured, settings.failed_logins_per_minute),
        StorageQuota(policies, store, clock),
        EventWatch(store),
        OpenStreams(settings.streams_per_tenant),
        started_at=SystemClock().now(),
    )
    for router in _TENANT_ROUTERS:
        app.include_router(router, responses=answers.FAILURES)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(docs.router)
    errors.install(app)
    app.openapi = document_of(app)  # type: ignore[method-assign]
    streamed = (files.UPLOAD_PATH, uploads.PART_PATH)
    app.add_middleware(BodyLimit, max_bytes=MAX_JSON_BYTES, unlimited=streamed)
    app.add_middleware(RequestContext, metrics=measured)
    return app
