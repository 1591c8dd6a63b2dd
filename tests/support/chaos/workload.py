"""What trains while things break: a few recipes of all three methods, over and over."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from chaos.cluster import ROOT, Cluster

_DATA = ROOT / "examples" / "demo"
_TIMEOUT_SECONDS = 5.0
_PAUSE_SECONDS = 0.5

LORA, PACA, MEFT = (
    {"type": "lora", "rank": 8, "dropout": 0.1},
    {"type": "paca", "rank": 8},
    {"type": "meft", "num_keys": 64},
)
#: Jobs from a fraction of a second to half a minute on a core; what a step costs grows with its
#: batch. Dropout, and a data order that a seed gives, make every step that is done again show.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    f"{adapter['type']}-{steps}x{batch}": {
        "model": "tiny",
        "adapter": adapter,
        "batch_size": batch,
        "max_steps": steps,
        "n_epochs": 100,
        "learning_rate": 1e-4,
        "seed": steps,
    }
    for adapter in (LORA, PACA, MEFT)
    for steps, batch in ((8, 4), (40, 8), (100, 8), (160, 8))
}


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that the API has said it keeps."""

    id: str
    tenant: str
    recipe: str


@dataclass(slots=True)
class Tenants:
    """The API as its tenants reach it, and the one training file of each."""

    cluster: Cluster
    files: dict[str, str] = field(default_factory=dict)

    def headers(self, tenant: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.cluster.keys[tenant]}"}

    def upload(self) -> None:
        """Give each tenant its file. All files are one, so that a recipe is the same for all."""
        content = (_DATA / "pirate.jsonl").read_bytes()
        for tenant in self.cluster.keys:
            answer = httpx.post(
                f"{self.cluster.url}/v1/files",
                headers=self.headers(tenant),
                files={"file": ("pirate.jsonl", content)},
                data={"purpose": "fine-tune"},
                timeout=30.0,
            )
            answer.raise_for_status()
            self.files[tenant] = answer.json()["id"]

    def submit(self, tenant: str, recipe: str, idempotency_key: str) -> Submitted | None:
        """None: the API gave no answer that it keeps the job. Asking again, with the same key,
        makes no second one."""
        try:
            answer = httpx.post(
                f"{self.cluster.url}/v1/fine_tuning/jobs",
                headers={**self.headers(tenant), "Idempotency-Key": idempotency_key},
                json={**RECIPES[recipe], "training_file": self.files[tenant]},
                timeout=_TIMEOUT_SECONDS,
            )
        except httpx.HTTPError:
            return None
        if answer.status_code != 200:
            return None
        return Submitted(answer.json()["id"], tenant, recipe)


class Stream:
    """A thread that submits jobs of some recipes, so that about `live` are there at any time."""

    def __init__(self, tenants: Tenants, rng: random.Random, live: int, recipes: Sequence[str]):
        self._tenants, self._rng, self._live, self._recipes = tenants, rng, live, recipes
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._lock = threading.Lock()
        self._submitted: dict[str, Submitted] = {}
        self._ended: set[str] = set()
        #: How often the API did not say that it keeps a job.
        self.refusals = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def submitted(self) -> dict[str, Submitted]:
        with self._lock:
            return dict(self._submitted)

    def saw_end(self, job_id: str) -> None:
        """One job fewer is there."""
        with self._lock:
            self._ended.add(job_id)

    def _run(self) -> None:
        number = 0
        while not self._ending.wait(_PAUSE_SECONDS):
            with self._lock:
                enough = len(self._submitted.keys() - self._ended) >= self._live
            if not enough:
                number += 1
                self._submit(number)

    def _submit(self, number: int) -> None:
        tenant = self._rng.choice(sorted(self._tenants.files))
        recipe = self._rng.choice(self._recipes)
        while not self._ending.is_set():
            job = self._tenants.submit(tenant, recipe, f"chaos-{number}")
            if job is not None:
                with self._lock:
                    self._submitted[job.id] = job
                return
            self.refusals += 1
            time.sleep(_PAUSE_SECONDS)
