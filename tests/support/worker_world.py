"""A training worker without Celery or Redis: store in memory, storage in a folder, time by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import ByHand
from prometheus_client import CollectorRegistry
from transformers import AutoModelForCausalLM, LlamaConfig

from pando_shared import layout
from pando_shared.adapters import AdapterConfig, LoraConfig
from pando_shared.clock import FakeClock
from pando_shared.jobs import HalvingRule, Job, JobSpec, JobState, Lease
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.stub import StubStore
from pando_shared.training import TrainingConfig, resolve
from pando_shared.workers import Assignment, Round
from pando_worker.checkpoint_writer import CheckpointWriter
from pando_worker.engine.data import ListSequences
from pando_worker.engine.engine import Engine
from pando_worker.host import Host, open_host
from pando_worker.metrics import WorkerMetrics
from pando_worker.round import run_round
from pando_worker.token_file import TokenFileWriter
from tiny_models import SIZES, random_sequences

TENANT, BASE, WORKER = "acme", "tiny", "w1"
LEASE_SECONDS, CHECKPOINT_SECONDS = 15.0, 60.0
_numbers = itertools.count(1)


def save_base(folder: Path, tokenizer: Any) -> None:
    """A random Llama with a tokenizer, as a model folder."""
    torch.manual_seed(0)
    config = LlamaConfig(**{**SIZES, "vocab_size": len(tokenizer)}, num_key_value_heads=2)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0.0, 0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_token_file(folder: Path, data: ListSequences) -> None:
    with TokenFileWriter(folder) as writer:
        for tokens, targets in data.items:
            writer.append(tokens.tolist(), targets.tolist())


class World:
    """Plays scheduler and clients around one worker. A microbatch takes a second of its time, a
    checkpoint none, unless `background` postpones it.

    `after_step` are called after each microbatch, the keeper having ticked once more.
    """

    def __init__(self, models: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.clock = FakeClock()
        self.store = StubStore(self.clock)
        self.storage = Storage(f"file://{folder}/storage")
        self.models = models
        self.settings = Settings(
            device="cpu",
            dtype="float32",
            cache_dir=folder / "cache",
            token_budget=4096,
            lease_seconds=LEASE_SECONDS,
            checkpoint_seconds=CHECKPOINT_SECONDS,
        )
        self.background = ByHand()
        self.host = self.start_worker()
        self.after_step: list[Callable[[], None]] = []
        self.rests: list[float] = []
        self._take_time(monkeypatch)

    def _take_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        step = Engine.step

        def timed(engine: Engine) -> list:
            reports = step(engine)
            self.clock.advance(1.0)
            self.host.keeper.tick()
            for hook in self.after_step:
                hook()
            return reports

        monkeypatch.setattr(Engine, "step", timed)
        # Workers load their bases often here, and a probe takes a second each time.
        monkeypatch.setattr("pando_worker.host.probe", lambda *_: None)

    def start_worker(self) -> Host:
        """A new process of the worker; the old one, if any, is as good as killed."""
        self.host = open_host(
            self.settings,
            self.store,
            self.storage,
            self.clock,
            self.models,
            WORKER,
            metrics=WorkerMetrics(CollectorRegistry()),
        )
        self.host.keeper.rest = self.rest
        self.background.errands.clear()
        self.host.writer = CheckpointWriter(self.background)
        return self.host

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.clock.advance(seconds)

    def submit(
        self,
        adapter: AdapterConfig | None = None,
        *,
        model: str = BASE,
        seed: int = 1,
        count: int = 8,
        valid: bool = False,
        halving: HalvingRule | None = None,
        **training: Any,
    ) -> str:
        """A job, prepared and placed on the worker; returns its id. Ten steps if not told."""
        job_id = f"ftjob-{next(_numbers):08x}{0:016x}"
        adapter = adapter or LoraConfig(rank=4)
        wanted = {"batch_size": 4, "n_epochs": 5, "learning_rate": 1e-3, **training}
        config = TrainingConfig(**wanted)
        for split, size in (("train", count), ("valid", 3 if valid else 0)):
            folder = self.storage.local_path(layout.tokens(job_id, split))
            assert folder is not None
            if size:
                write_token_file(folder, random_sequences(seed, size))
        spec = JobSpec(
            TENANT,
            model,
            "file-1",
            adapter,
            config,
            validation_file="file-2" if valid else None,
            halving=halving,
        )
        plan = resolve(config, adapter, count)
        self.store.create_job(
            Job(
                job_id,
                spec,
                self.clock.now(),
                JobState.QUEUED,
                training=plan.config,
                predicted_peak_bytes=123_456,
            )
        )
        self.place(job_id)
        return job_id

    def place(self, job_id: str) -> None:
        """As the scheduler does: running, on this worker, in a new epoch."""

        def placed(job: Job) -> Job:
            job = job if job.state is JobState.RUNNING else job.to(JobState.RUNNING)
            expires = self.clock.now() + LEASE_SECONDS
            worker = self.host.worker
            lease = Lease(worker.id, worker.incarnation, expires)
            return replace(job, lease=lease, epoch=job.epoch + 1)

        self.store.update_job(job_id, placed)

    def plan(self, *job_ids: str, seconds: float = 1e6, model: str = BASE, **fields: Any) -> str:
        planned = Round(
            id=f"round-{next(_numbers)}",
            worker_id=WORKER,
            incarnation=self.host.worker.incarnation,
            base_model=model,
            assignments=tuple(Assignment(name, self.job(name).epoch) for name in job_ids),
            seconds=seconds,
            predicted_bytes=1 << 30,
            planned_at=self.clock.now(),
        )
        planned = replace(planned, **fields)
        self.store.plan_round(planned)
        return planned.id

    def round(self, *job_ids: str, seconds: float = 1e6, **fields: Any) -> None:
        """Plan a round and run it; `seconds` are also the microbatches it lasts, at most."""
        run_round(self.host, self.plan(*job_ids, seconds=seconds, **fields))

    def job(self, job_id: str) -> Job:
        return self.store.get_job(job_id)

    def step_of(self, job_id: str) -> int:
        """Steps done in the worker's memory; what the store knows lags behind."""
        assert self.host.engine is not None
        return self.host.engine.jobs[job_id].step

    def messages(self, job_id: str, level: str | None = None) -> list[str]:
        events = self.store.events(job_id)
        return [event.message for event in events if level in (None, event.level)]

    def checkpoint_steps(self, job_id: str) -> list[int]:
        names = self.storage.names(layout.checkpoints(job_id))
        return [int(name.split("-")[1]) for name in names]

    def checkpoint(self, job_id: str, step: int) -> str:
        """Where the one checkpoint of a step is, in storage."""
        names = self.storage.names(layout.checkpoints(job_id))
        (name,) = (name for name in names if int(name.split("-")[1]) == step)
        return layout.checkpoint(job_id, name)

    def exported(self, job_id: str) -> bytes:
        """The finished adapter's tensors."""
        return self.storage.read(f"{layout.export(job_id)}/adapter_model.safetensors")

    def resident(self) -> set[str]:
        """Jobs in the worker's memory, as engine, tenancies and keeper agree."""
        engine = self.host.engine
        found = set(engine.jobs) if engine is not None else set()
        assert found == set(self.host.tenancies)
        return found
