"""How many jobs a GPU holds at once, as the byte model predicts and the scheduler admits.

    python benchmarks/capacity.py [--keys N] [--json FILE]

For the shapes of Llama 3.1, 8B and 70B, in every form a worker can hold them in on a GPU, and every
method's default adapter. A host with enough memory is taken for granted; how much the MEFT jobs
need of it, with headroom, stands beside their number. A prediction from shapes: nothing is loaded.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.admission import fits
from pando_shared.base_format import Dtype, base_bytes, base_format
from pando_shared.catalogue import BaseModel, Linear
from pando_shared.fleet import default_token_budget, predict_on, token_budget_on
from pando_shared.settings import Settings
from pando_shared.workers import Worker

CARDS_GB = (12, 24, 40, 80, 141)
DTYPES: tuple[Dtype, ...] = ("bfloat16", "int8", "nf4")
KEY_VALUE, VOCABULARY = 1024, 128_256


def llama(name: str, layers: int, hidden: int, feed_forward: int) -> BaseModel:
    linears = (
        Linear("q_proj", hidden, hidden, layers),
        Linear("k_proj", hidden, KEY_VALUE, layers),
        Linear("v_proj", hidden, KEY_VALUE, layers),
        Linear("o_proj", hidden, hidden, layers),
        Linear("gate_proj", hidden, feed_forward, layers),
        Linear("up_proj", hidden, feed_forward, layers),
        Linear("down_proj", feed_forward, hidden, layers),
    )
    in_blocks = sum(linear.in_features * linear.out_features * layers for linear in linears)
    parameters = in_blocks + 2 * VOCABULARY * hidden + (2 * layers + 1) * hidden
    return BaseModel(
        name=name,
        path="",
        hidden_size=hidden,
        intermediate_size=feed_forward,
        layers=layers,
        heads=hidden // 128,
        kv_heads=8,
        head_dim=128,
        vocab_size=VOCABULARY,
        max_positions=131_072,
        weight_bytes=2 * parameters,
        parameters=parameters,
        linears=linears,
        tied=False,
    )


BASES = (llama("8B", 32, 4096, 14336), llama("70B", 80, 8192, 28672))


def worker_of(card_gb: int, dtype: Dtype) -> Worker:
    device = "cuda:0"
    return Worker(
        id=f"{card_gb} GB",
        incarnation="",
        device=device,
        budget_bytes=int(0.9 * card_gb * 1e9),
        heartbeat_at=0.0,
        token_budget=default_token_budget(device),
        base_format=base_format(dtype, device),
    )


def jobs_that_fit(worker: Worker, base: BaseModel, adapter: AdapterConfig, headroom: float) -> int:
    jobs = 0
    while fits(worker, predict_on(worker, base, [adapter] * (jobs + 1)), headroom):
        jobs += 1
    return jobs


def host_bytes(
    worker: Worker, base: BaseModel, adapter: AdapterConfig, jobs: int, headroom: float
) -> int:
    """What so many jobs need of the worker's host."""
    if jobs == 0:
        return 0
    return round(predict_on(worker, base, [adapter] * jobs).host_bytes * (1 + headroom))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--keys", type=int, default=MeftConfig().num_keys, help="MEFT's, a layer")
    options = parser.parse_args()
    methods = (LoraConfig(), PacaConfig(), MeftConfig(num_keys=options.keys))
    headroom = Settings().memory_headroom
    rows = []
    print(
        f"{'base':>4} {'held in':>8} {'base GB':>8} {'card':>7} {'tokens a microbatch':>20} "
        f"{'LoRA':>6} {'PaCA':>6} {'MEFT':>6} {'its host GB':>12}"
    )
    for base, dtype, card in itertools.product(BASES, DTYPES, CARDS_GB):
        worker = worker_of(card, dtype)
        jobs = {config.type: jobs_that_fit(worker, base, config, headroom) for config in methods}
        if not any(jobs.values()):
            continue
        host = {
            config.type: host_bytes(worker, base, config, jobs[config.type], headroom)
            for config in methods
        }
        held, tokens = base_bytes(base, worker.base_format), token_budget_on(worker, base)
        rows.append(
            {
                "base": base.name,
                "dtype": dtype,
                "base_bytes": held,
                "card_gb": card,
                "token_budget": tokens,
                "jobs": jobs,
                "host_bytes": host,
            }
        )
        print(
            f"{base.name:>4} {dtype:>8} {held / 1e9:8.1f} {worker.id:>7} {tokens:20,} "
            f"{jobs['lora']:6} {jobs['paca']:6} {jobs['meft']:6} {host['meft'] / 1e9:12.1f}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
