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
from dataclasses import replace
from pathlib import Path

from pando_scheduler.simulation.base_models import KNOWN
from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.admission import fits
from pando_shared.base_format import Dtype, base_bytes, base_format
from pando_shared.catalogue import BaseModel
from pando_shared.fleet import default_token_budget, predict_on, token_budget_on
from pando_shared.settings import Settings
from pando_shared.workers import Worker

CARDS_GB = (12, 24, 40, 80, 141)
DTYPES: tuple[Dtype, ...] = ("bfloat16", "int8", "nf4")


BASES = tuple(replace(KNOWN[f"llama-3.1-{size.lower()}"], name=size) for size in ("8B", "70B"))


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
