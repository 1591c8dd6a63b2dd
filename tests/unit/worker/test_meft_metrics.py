"""What MEFT's rows move is told to Prometheus."""

from __future__ import annotations

import torch
from worker_world import BASE, World

from pando_kernels.meft.staging import Staging
from pando_shared.adapters import LoraConfig, MeftConfig
from pando_worker.engine.rows_home import RowsHome

MEFT = MeftConfig(num_keys=64, top_k=6, num_experts=16, num_probes=3)


def value(world: World, name: str, **labels: str) -> float:
    metric = {
        "rows": world.host.metrics.meft_rows,
        "hits": world.host.metrics.meft_hits,
        "ratio": world.host.metrics.meft_hit_ratio,
        "splits": world.host.metrics.meft_splits,
    }[name]
    (family,) = metric.collect()
    samples = [s.value for s in family.samples if not s.name.endswith("_created")]
    if labels:
        samples = [s.value for s in family.samples if s.labels == labels]
    return samples[0] if samples else 0.0


def test_rows_that_pass_through_buffers_are_counted(world: World):
    engine = world.host.use_base(BASE)
    d = engine.base.hidden_size
    some_cached = 6 * 4 * d * 2 * 2 * 4  # six experts' keys and values, two layers, fp32
    staging = Staging(torch.device("cpu"), torch.float32, 5 * 4 * d, some_cached)
    engine.home = RowsHome(staging=staging)
    job_id = world.submit(MEFT)
    world.round(job_id, seconds=5)
    traffic = engine.jobs[job_id].adapter.memory.traffic
    assert traffic.rows_in > 0
    assert value(world, "rows", direction="in") == traffic.rows_in
    assert value(world, "rows", direction="out") == traffic.rows_out > 0
    assert value(world, "hits") == traffic.hits > 0
    assert value(world, "splits") == traffic.splits > 0
    assert 0 < value(world, "ratio") < 1


def test_where_nothing_moves_nothing_is_counted(world: World):
    jobs = [world.submit(MEFT), world.submit(LoraConfig(rank=2))]
    world.round(*jobs, seconds=5)
    for name in ("hits", "ratio", "splits"):
        assert value(world, name) == 0
    assert value(world, "rows", direction="in") == 0
