"""MEFT's speed and memory: on a CPU against a dense adapter, on a GPU with rows in the host's.

    python benchmarks/meft.py [--parts cpu gpu] [--json FILE] [--seconds N] [--device cpu]

`cpu`, which runs where there is no GPU: one network's adapter on one thread, forward, backward and
update, against relu(x Kᵀ) V of as many keys under AdamW. Processor time, medians of steps taken in
turn; memory is what each makes a process of its own grow by.

`gpu`, which runs where there is one: a Llama of 8 billion random weights in bf16 with adapters of
100 million to 3 billion parameters, whose rows lie in the host's memory, within 24 GB of the GPU;
and the same adapters wholly on it. On `--device cpu` this is a dry run of tiny sizes.

--json refreshes the parts that ran, and leaves the file's others as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"  # buffers come and go
sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
sys.path.extend(
    str(Path(__file__).resolve().parents[1] / name)
    for name in ("shared", "kernels", "services/worker")
)

import torch
from meft_cpu import SMOKE, CpuSizes, measure_cpu
from reporting import write

PARTS = ("cpu", "gpu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: what suits the machine")
    parser.add_argument("--json", type=Path, help="write what was found here")
    parser.add_argument("--seconds", type=float, default=360, help="gpu: start nothing after this")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if on_gpu else "cpu")
    parser.add_argument("--smoke", action="store_true", help="both parts, in tiny sizes")
    options = parser.parse_args()
    parts = options.parts or (PARTS if options.smoke else ("gpu",) if on_gpu else ("cpu",))
    found: dict[str, Any] = {}
    for part in parts:
        if part == "cpu":
            found[part] = measure_cpu(SMOKE if options.smoke else CpuSizes())
        else:
            from meft_gpu import measure_gpu  # slow to load
            from meft_sizes import DRY_RUN, GpuSizes

            device = torch.device(options.device)
            dry = options.smoke or device.type == "cpu"
            found["dry_run" if dry else part] = measure_gpu(
                DRY_RUN if dry else GpuSizes(), device, options.seconds
            )
    for part, content in found.items():
        print(f"{part}\n{content.pop('printed')}\n")
    if options.json is not None:
        before = json.loads(options.json.read_text()) if options.json.exists() else {}
        write(options.json, {**before, **found})
    variants = [v for part in ("gpu", "dry_run") for v in found.get(part, {}).get("variants", [])]
    if variants and all(variant["failure"] for variant in variants):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
