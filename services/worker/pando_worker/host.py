"""What a training process holds for its whole life: the base in memory, the jobs, the keeper."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from pando_shared.base_format import base_format
from pando_shared.calibration import read_calibration
from pando_shared.catalogue import BaseModel, read_base_model
from pando_shared.clock import JumpingClock
from pando_shared.errors import InvalidRequest
from pando_shared.fleet import default_token_budget, token_budget_on
from pando_shared.ids import new_id
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.tracing import Span
from pando_shared.workers import Worker
from pando_worker.checkpoint_writer import CheckpointWriter
from pando_worker.engine.base_model import load_base
from pando_worker.engine.device import (
    choose_device,
    choose_lanes,
    memory_bytes,
    release_cached,
    used_bytes,
)
from pando_worker.engine.engine import Engine
from pando_worker.engine.quantized import freeze_weight
from pando_worker.engine.rows_home import make_home
from pando_worker.expectation import Expectation, expectation
from pando_worker.lease_keeper import LeaseKeeper
from pando_worker.metrics import WorkerMetrics
from pando_worker.metrics_address import metrics_address
from pando_worker.probe import probe
from pando_worker.progress_log import ProgressLog
from pando_worker.publishing import Publisher

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tenancy:
    """A resident job's standing at this worker."""

    epoch: int
    log: ProgressLog
    #: The time and step of the newest state that was taken to be kept.
    checkpointed_at: float
    checkpointed_step: int
    #: When to try next to publish the finished adapter, once storage has failed.
    finish_at: float = float("-inf")
    tenant: str = ""
    #: Where in a trace what is done for it belongs; None: nowhere.
    traceparent: str | None = None
    #: Its training in the present round.
    training: Span = field(default_factory=Span)


@dataclass(slots=True)
class Host:
    """One training process. The keeper's thread reads `worker`, the checkpoint writer's uses
    keeper, publisher and metrics; all else is the main thread's.

    `models` maps the names of bases to the paths to load them from.
    """

    settings: Settings
    store: Store
    storage: Storage
    clock: JumpingClock
    models: Mapping[str, str]
    metrics: WorkerMetrics
    device: str
    worker: Worker
    publisher: Publisher
    #: Whether the process has been asked to end: a round then yields after the current step.
    stopping: Callable[[], bool]
    keeper: LeaseKeeper = field(init=False)
    writer: CheckpointWriter = field(default_factory=CheckpointWriter)
    engine: Engine | None = None
    shape: BaseModel | None = None
    tenancies: dict[str, Tenancy] = field(default_factory=dict)
    #: When training last ended with adapters in memory; None: nothing was left waiting.
    waiting_since: float | None = None

    def __post_init__(self) -> None:
        self.keeper = LeaseKeeper(
            self.store,
            self.clock,
            lambda: replace(self.worker, heartbeat_at=self.clock.now()),
            lease_seconds=self.settings.lease_seconds,
            heartbeat_seconds=self.settings.heartbeat_seconds,
        )

    def should_yield(self) -> bool:
        """Whether something more urgent than the round waits."""
        return self.stopping() or self.keeper.somebody_waits()

    @property
    def cache(self) -> Path:
        return self.settings.cache_dir / self.worker.id

    def use_base(self, name: str) -> Engine:
        """The engine for a base, which is loaded if another (or none) is in memory.

        Must not be called for another base while jobs are resident.

        Raises:
            InvalidRequest: no such base here, or one that cannot be trained packed.
            OSError: its files cannot be read.
        """
        if self.engine is not None and self.worker.base_model == name:
            return self.engine
        if name not in self.models:
            raise InvalidRequest(f"this worker has no base model {name}", param="model")
        if self.engine is not None and self.engine.jobs:
            raise RuntimeError(f"cannot swap {self.worker.base_model} while jobs are resident")
        self.engine = None
        self.worker = replace(self.worker, base_model=None, resident_bytes=0, probe=None)
        release_cached(self.device)
        log.info("loading base model %s from %s", name, self.models[name])
        disable_progress_bar()  # a service's log is no place for one
        self.shape = shape = read_base_model(name, Path(self.models[name]))
        held = self.worker.base_format
        base = load_base(
            self.models[name],
            self.device,
            getattr(torch, held.compute),
            partial(freeze_weight, storage=held.storage),
        )
        release_cached(self.device)
        self.worker = replace(self.worker, base_model=name, resident_bytes=used_bytes(self.device))
        self.engine = Engine(
            base,
            token_budget_on(self.worker, shape),
            lanes=choose_lanes(self.device),
            home=make_home(base.device, base.dtype, self.settings.rows_dir),
        )
        self.worker = replace(self.worker, probe=probe(self.engine, self.worker, shape))
        self.store.put_worker(replace(self.worker, heartbeat_at=self.clock.now()))
        self.metrics.begin_base(name)
        log.info("base model %s is ready", name)
        return self.engine


def expect(host: Host, engine: Engine) -> Expectation:
    """What the resident jobs together are expected to take, by what has been learnt so far."""
    assert host.shape is not None  # an engine has a base
    found = host.store.get_jobs(list(engine.jobs))
    jobs = {job.id: job for job in found if job is not None}
    longest = {job_id: engine.jobs[job_id].job.train.longest for job_id in jobs}
    learnt = read_calibration(host.store.learnt(), host.shape.name, host.worker.device_kind)
    return expectation(host.worker, host.shape, jobs, longest, learnt)


def fit_memory(engine: Engine, expected: Expectation, headroom: float) -> None:
    """Have the engine recompute what the resident jobs' memory makes it, and no more, while a share
    of `headroom` stays free on top of what is expected."""
    fitting = expected.plan(headroom)
    if engine.recompute is not fitting.recompute:
        log.info("the backward pass makes %s again", fitting.recompute.value)
    engine.recompute = fitting.recompute


def device_kind(device: str) -> str:
    """The device's name: what is learnt of one holds for all of that name."""
    return "cpu" if device == "cpu" else torch.cuda.get_device_name(device)


def open_host(
    settings: Settings,
    store: Store,
    storage: Storage,
    clock: JumpingClock,
    models: Mapping[str, str],
    worker_id: str,
    stopping: Callable[[], bool] = lambda: False,
    metrics: WorkerMetrics | None = None,
) -> Host:
    """A host with a fresh incarnation: whatever an earlier process of this worker held is void."""
    device = choose_device(settings.device)
    if device != "cpu":
        # Triton launches on the current device, wherever the tensors are.
        torch.cuda.set_device(torch.device(device).index or 0)
    host_budget = None
    if device != "cpu":
        # Every GPU that this process sees may have a worker of its own.
        share = 0.8 * memory_bytes("cpu") / max(1, torch.cuda.device_count())
        host_budget = settings.host_memory_bytes or int(share)
    worker = Worker(
        id=worker_id,
        incarnation=new_id("inc"),
        device=device,
        budget_bytes=settings.memory_bytes or int(0.9 * memory_bytes(device)),
        heartbeat_at=clock.now(),
        token_budget=settings.token_budget or default_token_budget(device),
        base_format=base_format(settings.dtype, device),
        models=tuple(models),
        host_budget_bytes=host_budget,
        rows_on_disk=settings.rows_dir is not None,
        device_kind=device_kind(device),
        metrics_address=metrics_address(settings),
    )
    publisher = Publisher(store, storage, clock, settings.cache_dir / worker_id)
    publisher.clear()
    return Host(
        settings=settings,
        store=store,
        storage=storage,
        clock=clock,
        models=models,
        metrics=metrics or WorkerMetrics(),
        device=device,
        worker=worker,
        publisher=publisher,
        stopping=stopping,
    )
