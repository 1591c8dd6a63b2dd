"""What each recipe gives where nothing is broken, and how close the others came to it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from chaos.workload import Submitted, Tenants

#: Jobs that trained beside others have their sums added up in another order: |a - b| / |b| over
#: what was trained. Bits are compared too, and agree where a job had the same neighbours.
TOLERANCE = 1e-4
_PATIENCE_SECONDS = 240.0

Weights = Mapping[str, NDArray[np.float32]]


def train_twins(tenants: Tenants, recipes: Iterable[str]) -> dict[str, Submitted]:
    """A job of each recipe, one after another and alone, to its end.

    Raises:
        RuntimeError: one did not succeed; nothing is broken that could be why.
    """
    tenant = min(tenants.files)
    twins: dict[str, Submitted] = {}
    for recipe in sorted(recipes):
        twin = tenants.submit(tenant, recipe, f"twin-{recipe}")
        if twin is None:
            raise RuntimeError(f"the API does not take a job of {recipe}")
        twins[recipe] = twin
        _wait(tenants, twin)
    return twins


def _wait(tenants: Tenants, job: Submitted) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        answer = httpx.get(
            f"{tenants.cluster.url}/v1/fine_tuning/jobs/{job.id}",
            headers=tenants.headers(job.tenant),
            timeout=30.0,
        )
        answer.raise_for_status()
        status = answer.json()["status"]
        if status == "succeeded":
            return
        if status in ("failed", "cancelled") or time.monotonic() > deadline:
            raise RuntimeError(f"{job.recipe} is {status} where nothing is broken: {answer.text}")
        time.sleep(0.2)


def trained(storage: Path, job_id: str) -> Weights:
    """What training has made: of LoRA and PaCA only B, for A would hide a difference."""
    tensors = load_file(storage / "jobs" / job_id / "export" / "adapter_model.safetensors")
    ours = {name: tensor for name, tensor in tensors.items() if "lora_B" in name}
    return ours or tensors


def difference(one: Weights, twin: Weights) -> float:
    """|one - twin| / |twin| over all tensors together; infinite if they are not of one shape."""
    if {n: t.shape for n, t in one.items()} != {n: t.shape for n, t in twin.items()}:
        return math.inf
    changed = sum(float(np.sum((one[n] - twin[n]) ** 2, dtype=np.float64)) for n in twin)
    whole = sum(float(np.sum(twin[n] ** 2, dtype=np.float64)) for n in twin)
    return math.sqrt(changed / whole)
