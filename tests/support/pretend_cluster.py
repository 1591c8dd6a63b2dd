"""Scheduler and worker in a few lines: moves jobs on and answers samples, without any training.

Lets the HTTP side be tested end to end where no model and no Redis are wanted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from pando_shared import layout, lifecycle
from pando_shared.clock import Clock
from pando_shared.codec import decode
from pando_shared.errors import PandoError
from pando_shared.jobs import DatasetSummary, Job, JobState, Progress
from pando_shared.records import CheckpointRecord, Event, FileRecord, ModelRecord
from pando_shared.storage import Storage
from pando_shared.store import Change
from pando_shared.store.stub import StubStore
from pando_shared.training import resolve
from pando_shared.workers import SampleChunk, SampleRequest, Worker

CSV = b"step,train_loss,train_accuracy,train_mean_token_accuracy\n1,0.5,,\n"
TICK_SECONDS = 0.01


@dataclass
class PretendCluster:
    """A `Messenger` that does what its messages ask for, on a thread of its own."""

    store: StubStore
    storage: Storage
    clock: Clock
    base: str
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> PretendCluster:
        self._thread = threading.Thread(target=self._run, name="pretend-cluster")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def prepare(self, job_id: str) -> None:
        """Found by looking, like everything else here."""

    def round(self, worker_id: str, round_id: str) -> None:
        """Nobody plans rounds here."""

    def sample(self, worker_id: str, request_json: str) -> None:
        request = decode(SampleRequest, request_json)
        words = ["Once", " upon", " a", " time"][: request.max_tokens]
        chunks = [SampleChunk(word, count, prompt_tokens=5) for count, word in enumerate(words, 1)]
        chunks.append(SampleChunk("", len(words), prompt_tokens=5, finish_reason="length"))
        self.store.push_sample_chunks(request.id, chunks)
        self.store.sample_done(worker_id, request.id)

    def _run(self) -> None:
        worker = Worker("w1", "first", "cpu", 1 << 34, self.clock.now(), 512, base_model=self.base)
        while not self._stop.wait(TICK_SECONDS):
            worker = replace(worker, heartbeat_at=self.clock.now())
            self.store.put_worker(worker)
            for job in self.store.jobs_in(JobState.VALIDATING, JobState.QUEUED, JobState.RUNNING):
                try:
                    lifecycle.transition(self.store, self.storage, job.id, self._advanced)
                except PandoError:
                    continue  # Cancelled or paused between the look and the step.

    def _advanced(self, job: Job) -> Job | Change:
        match job.state:
            case JobState.VALIDATING:
                return self._prepared(job)
            case JobState.QUEUED:
                return Change(job.to(JobState.RUNNING), (Event(self.clock.now(), "Job started"),))
            case _ if job.progress.step >= job.progress.total_steps:
                return self._succeeded(job)
            case _:
                return self._stepped(job)

    def _prepared(self, job: Job) -> Job:
        plan = resolve(job.spec.training, job.spec.adapter, examples=8)
        return replace(
            job.to(JobState.QUEUED),
            training=plan.config,
            training_data=DatasetSummary("chat", 8, 80, 40, 10),
            progress=Progress(total_steps=plan.total_steps),
            queued_at=self.clock.now(),
        )

    def _stepped(self, job: Job) -> Change:
        step, total = job.progress.step + 1, job.progress.total_steps
        message = f"Step {step}/{total}: training loss=0.50"
        event = Event(
            self.clock.now(), message, type="metrics", data={"step": step, "train_loss": 0.5}
        )
        name = f"{self._name(job)}:ckpt-step-{step}"
        checkpoint = CheckpointRecord(
            f"ftckpt-{job.id}-{step}", job.id, name, step, self.clock.now()
        )
        progress = replace(job.progress, step=step, train_loss=0.5, trained_tokens=10 * step)
        return Change(
            replace(job, progress=progress),
            (event,),
            checkpoint=checkpoint if step <= 3 else None,
        )

    def _succeeded(self, job: Job) -> Change:
        name, path = self._name(job), layout.export(job.id)
        self.storage.write(f"{path}/adapter_config.json", b"{}")
        file_id = f"file-{job.id}"
        self.storage.write(layout.file_content(file_id), CSV)
        self.store.put_file(
            FileRecord(
                file_id,
                job.spec.tenant,
                "results.csv",
                "fine-tune-results",
                len(CSV),
                self.clock.now(),
            )
        )
        model = ModelRecord(
            name,
            job.spec.tenant,
            job.spec.model,
            job.id,
            job.spec.adapter.type,
            path,
            self.clock.now(),
        )
        ended = replace(
            job.to(JobState.SUCCEEDED),
            fine_tuned_model=name,
            result_files=(file_id,),
            finished_at=self.clock.now(),
        )
        return Change(
            ended, (Event(self.clock.now(), "The job has successfully completed"),), model
        )

    @staticmethod
    def _name(job: Job) -> str:
        short = job.id.removeprefix("ftjob-")[:8]
        return f"ft:{job.spec.model}:{job.spec.tenant}:{job.spec.suffix or ''}:{short}"
