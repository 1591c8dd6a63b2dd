"""At a fixed number of tokens a job gets the same bits whoever its neighbours are.

The adapters' operations hold to this anywhere; the base's products do as long as the library sums
each row alike whatever the other rows hold, which MKL does for one shape.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from engine_jobs import METHODS, shake
from microbatches import make_jobs, train

from pando_shared.adapters import LoraConfig, PacaConfig
from pando_worker.engine.adapters import build_adapter
from pando_worker.engine.base_model import load_base
from tiny_models import random_sequences

JOBS = {"lora": LoraConfig(rank=4), "dropout": LoraConfig(rank=20, dropout=0.3)} | {
    name: METHODS[name] for name in ("paca", "meft")
}


@pytest.mark.parametrize("job", JOBS.values(), ids=list(JOBS))
def test_other_neighbours_of_the_same_length_change_no_bit(model_folder, job):
    base = load_base(model_folder("llama"))
    found = []
    for seed, neighbour in ((50, PacaConfig(rank=3)), (60, LoraConfig(rank=9))):
        jobs = make_jobs(base, [neighbour, job, neighbour])
        shares = list(jobs.shares)
        for place in (0, 2):  # other tokens, other targets, the same lengths
            lengths = [len(tokens) for tokens, _ in shares[place].sequences]
            data = [random_sequences(seed + i, 1, n, n).sequence(0) for i, n in enumerate(lengths)]
            shares[place] = replace(shares[place], sequences=data)
        adapters = list(jobs.adapters)
        adapters[0] = build_adapter(base, neighbour, seed)
        shake(adapters[0], seed)
        results, gradients = train(
            base, replace(jobs, adapters=tuple(adapters), shares=tuple(shares))
        )
        found.append((results[1], gradients[1]))
    (first, one), (second, other) = found
    assert first == second
    for name, gradient in one.items():
        assert torch.equal(gradient, other[name])
    assert any(gradient.any() for gradient in one.values())
