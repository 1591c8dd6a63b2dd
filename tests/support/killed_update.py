"""Trains, checkpoints step 5, and kills itself within the update of step 7. A program of its own.

python killed_update.py MODEL CHECKPOINT [ROWS]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from engine_jobs import make_job, steps_of

from pando_kernels.meft import lazy_adamw
from pando_shared.adapters import MeftConfig
from pando_worker.engine.base_model import load_base
from pando_worker.engine.checkpoint import save_checkpoint, training_state
from pando_worker.engine.engine import Engine
from pando_worker.engine.rows_home import RowsHome
from tiny_models import random_sequences

STEPS = 9


def subject():
    config = MeftConfig(num_keys=64, top_k=6, num_experts=16, num_probes=3)
    return make_job("j", config, random_sequences(5, 10), batch_size=3, max_steps=STEPS, seed=3)


def main(folder: str, checkpoint: Path, rows: Path | None) -> None:
    engine = Engine(load_base(folder), 150, home=RowsHome(rows))
    resident = engine.join(subject())
    steps_of(engine, ["j"], until=5)
    save_checkpoint(training_state(resident), checkpoint)
    steps_of(engine, ["j"], until=6)
    layers = iter((1, 2))
    update = lazy_adamw._update_gathered

    def kill_in_the_second_layer(tables: lazy_adamw.AdamWRows, *arguments: object) -> None:
        layer = next(layers)
        if layer == 1:
            update(tables, *arguments)
            return
        print("updating layer 2 of step 7", flush=True)
        tables.value.add_(torch.ones(()))  # half done, and visibly so
        os.kill(os.getpid(), signal.SIGKILL)

    lazy_adamw._update_gathered = kill_in_the_second_layer
    steps_of(engine, ["j"], until=7)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
