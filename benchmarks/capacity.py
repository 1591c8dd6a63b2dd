"""How many jobs a GPU holds at once, as the byte model predicts and the scheduler admits.

    python benchmarks/capacity.py [--json FILE]

For Llama-3.1-8B's shapes in bfloat16 and every method's default adapter. A prediction from shapes:
nothing is loaded.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.catalogue import BaseModel, Linear
from pando_shared.fleet import default_token_budget, predict_on, token_budget_on
from pando_shared.settings import Settings
from pando_shared.workers import Worker

CARDS_GB = (24, 40, 80, 141)
METHODS: tuple[AdapterConfig, ...] = (LoraConfig(), PacaConfig(), MeftConfig())
LAYERS, HIDDEN, FEED_FORWARD, KEY_VALUE = 32, 4096, 14336, 1024
LLAMA_8B = BaseModel(
    name="llama-3.1-8b",
    path="",
    hidden_size=HIDDEN,
    intermediate_size=FEED_FORWARD,
    layers=LAYERS,
    heads=32,
    kv_heads=8,
    head_dim=128,
    vocab_size=128_256,
    max_positions=131_072,
    weight_bytes=2 * 8_030_261_248,
    parameters=8_030_261_248,
    linears=(
        Linear("q_proj", HIDDEN, HIDDEN, LAYERS),
        Linear("k_proj", HIDDEN, KEY_VALUE, LAYERS),
        Linear("v_proj", HIDDEN, KEY_VALUE, LAYERS),
        Linear("o_proj", HIDDEN, HIDDEN, LAYERS),
        Linear("gate_proj", HIDDEN, FEED_FORWARD, LAYERS),
        Linear("up_proj", HIDDEN, FEED_FORWARD, LAYERS),
        Linear("down_proj", FEED_FORWARD, HIDDEN, LAYERS),
    ),
    tied=False,
)


def worker_of(card_gb: int) -> Worker:
    device = "cuda:0"
    return Worker(
        id=f"{card_gb} GB",
        incarnation="",
        device=device,
        budget_bytes=int(0.9 * card_gb * 1e9),
        heartbeat_at=0.0,
        token_budget=default_token_budget(device),
        weight_bytes=2,
    )


def jobs_that_fit(worker: Worker, adapter: AdapterConfig, headroom: float) -> int:
    jobs = 0
    while predict_on(worker, LLAMA_8B, [adapter] * (jobs + 1)) * (1 + headroom) <= (
        worker.budget_bytes
    ):
        jobs += 1
    return jobs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    headroom = Settings().memory_headroom
    rows = []
    print(f"{'card':>7} {'tokens a microbatch':>20} {'LoRA':>6} {'PaCA':>6} {'MEFT':>6}")
    for card in CARDS_GB:
        worker = worker_of(card)
        fits = {config.type: jobs_that_fit(worker, config, headroom) for config in METHODS}
        rows.append(
            {"card_gb": card, "token_budget": token_budget_on(worker, LLAMA_8B), "jobs": fits}
        )
        print(
            f"{worker.id:>7} {rows[-1]['token_budget']:20,} {fits['lora']:6} {fits['paca']:6} "
            f"{fits['meft']:6}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
