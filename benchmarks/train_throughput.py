"""Many jobs fused on one base against the same jobs one after another with peft + AdamW.

    python benchmarks/train_throughput.py [--json FILE] [--only SETTING ...] [--jobs N ...]

The peer is a plain loop: `peft.get_peft_model`, padded batches of the same sequences in the same
order, `torch.optim.AdamW`, same type, threads, batch sizes and steps. Speed is counted in real
tokens (padding counts for nothing). Each side is timed in turn, several times over, in a process
of its own, which also tells its peak resident memory; `ratio` is the median of the pairs' ratios.
`counted` is the ratio of the products' FLOPs alone: what packing, causal attention and an output
layer for targets spare, were both sides equally quick at what they do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))

SETTINGS = {
    "stories260k": "a trained Llama: hidden 64, 5 layers, vocabulary 512, tied",
    "256x4-v512": "random Llama: hidden 256, 4 layers, vocabulary 512",
    "256x4-v32000": "random Llama: hidden 256, 4 layers, vocabulary 32,000",
    "512x8-v512": "random Llama: hidden 512, 8 layers, vocabulary 512",
}
BATCH_SIZE = 4
RANK = 16
"""LoRA on every linear, alpha 32, no dropout: what both sides train."""


@dataclass(frozen=True)
class Measured:
    """One run of one side."""

    seconds: float
    real_tokens: int
    peak_bytes: int
    losses: list[float]
    flops: float
    #: What one large product of this process' threads reaches.
    machine_flops: float

    @property
    def tokens_per_second(self) -> float:
        return self.real_tokens / self.seconds


def gsm8k_lengths(count: int, seed: int) -> list[tuple[int, int]]:
    """(prompt, answer) lengths in tokens, drawn from GSM8K's in `gsm8k_lengths.json`."""
    import numpy as np

    table = json.loads((Path(__file__).parent / "gsm8k_lengths.json").read_text())
    pairs = table["prompt_answer_tokens"]
    picks = np.random.default_rng(seed).integers(0, len(pairs), count)
    return [tuple(pairs[i]) for i in picks]


def make_model(setting: str):
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    if setting == "stories260k":
        data = os.environ.get("PANDO_TEST_DATA", "../shared/data")
        return AutoModelForCausalLM.from_pretrained(f"{data}/models/stories260k")
    hidden, layers = (int(n) for n in setting.split("-")[0].split("x"))
    return AutoModelForCausalLM.from_config(
        LlamaConfig(
            vocab_size=int(setting.split("-v")[1]),
            hidden_size=hidden,
            intermediate_size=int(hidden * 2.6875),
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=hidden // 64,
            max_position_embeddings=512,
        )
    )


def make_data(job: int, steps: int, vocabulary: int):
    """Sequences of one job: GSM8K lengths, at most 512 tokens; the answer is the target."""
    import numpy as np

    rng = np.random.default_rng(1000 + job)
    items = []
    for prompt, answer in gsm8k_lengths(BATCH_SIZE * steps, seed=job):
        length = min(prompt + answer, 512)
        tokens = rng.integers(3, vocabulary, length)
        targets = np.arange(length) >= min(prompt, length - 1)
        items.append((tokens, targets))
    return items


def shape_of(model):
    from llama_shapes import LlamaShape

    config = model.config
    return LlamaShape(
        hidden=config.hidden_size,
        network=config.intermediate_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        head_width=getattr(config, "head_dim", None)
        or config.hidden_size // config.num_attention_heads,
        vocabulary=config.vocab_size,
    )


def machine_flops() -> float:
    """FLOP/s of a large fp32 product, the best of several."""
    import torch

    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - began)
    return 2 * 1024**3 / min(times)


def padded_flops(shape, lengths: list[int]) -> float:
    """FLOPs of one padded batch, counted as `step_flops` does: every row to the longest length,
    scores of all pairs, logits everywhere."""
    rows, longest = len(lengths) * max(lengths), max(lengths)
    linears = [*shape.attention_linears, *shape.network_linears]
    frozen = sum(4.0 * k * n for k, n in linears)
    adapters = sum(6.0 * RANK * (k + n) for k, n in linears)
    scores = 6 * 2.0 * longest * shape.heads * shape.head_width
    first = sum(2.0 * k * n for k, n in shape.qkv)
    head = 4.0 * shape.hidden * shape.vocabulary
    return rows * (shape.layers * (frozen + adapters + scores) - first + head)


def run_pando(setting: str, jobs: int, steps: int, token_budget: int) -> Measured:
    from llama_shapes import step_flops

    from pando_shared.adapters import LoraConfig
    from pando_shared.training import TrainingConfig, resolve
    from pando_worker.engine.base_model import open_base
    from pando_worker.engine.data import ListSequences
    from pando_worker.engine.device import choose_lanes, peak_bytes
    from pando_worker.engine.engine import Engine, StepReport
    from pando_worker.engine.job import TrainingJob

    model = make_model(setting)
    engine = Engine(open_base(model, setting), token_budget, choose_lanes("cpu"))
    real = 0

    def join(name: str, count: int, first: int, length: int) -> None:
        for index in range(count):
            data = make_data(first + index, length, model.config.vocab_size)
            config = TrainingConfig(n_epochs=1, batch_size=BATCH_SIZE, learning_rate=1e-3)
            plan = resolve(config, LoraConfig(rank=RANK), len(data))
            engine.join(
                TrainingJob(
                    f"{name}{index}", LoraConfig(rank=RANK), plan, ListSequences(tuple(data))
                )
            )

    def run() -> list[float]:
        nonlocal real
        last: dict[str, float] = {}
        while any(not job.finished for job in engine.jobs.values()):
            for report in engine.step():
                assert isinstance(report, StepReport)
                real += report.tokens
                last[report.job_id] = report.loss
        return [last[name] for name in sorted(last)]

    join("warm", min(2, jobs), 100, 2)
    run()
    for name in list(engine.jobs):
        engine.leave(name)
    join("job", jobs, 0, steps)
    real = 0
    began = time.perf_counter()
    losses = run()
    seconds = time.perf_counter() - began
    data = [make_data(job, steps, model.config.vocab_size) for job in range(jobs)]
    flops = step_flops(shape_of(model), [(items, LoraConfig(rank=RANK)) for items in data])
    return Measured(seconds, real, peak_bytes("cpu"), losses, flops, machine_flops())


def run_peft(setting: str, jobs: int, steps: int, _: int) -> Measured:
    import peft
    import torch

    from pando_worker.engine.data import batch_at
    from pando_worker.engine.device import peak_bytes

    real = 0
    flops = 0.0
    losses: list[float] = []

    def train(job: int, count: int) -> None:
        nonlocal real, flops
        base = make_model(setting)
        data = make_data(job, count, base.config.vocab_size)
        model = peft.get_peft_model(
            base, peft.LoraConfig(r=RANK, lora_alpha=32, target_modules="all-linear")
        )
        model.train()
        shape = shape_of(base)
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=1e-3, weight_decay=0.0)
        loss = None
        began = time.perf_counter()
        for step in range(count):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * (1 - step / count)
            batch = [data[i] for i in batch_at(step, len(data), BATCH_SIZE, 42)]
            longest = max(len(tokens) for tokens, _ in batch)
            flops += padded_flops(shape, [len(tokens) for tokens, _ in batch])
            ids = torch.zeros(len(batch), longest, dtype=torch.int64)
            mask = torch.zeros_like(ids)
            labels = torch.full_like(ids, -100)
            for row, (tokens, targets) in enumerate(batch):
                n = len(tokens)
                ids[row, :n] = torch.from_numpy(tokens)
                mask[row, :n] = 1
                labels[row, :n] = torch.where(torch.from_numpy(targets), ids[row, :n], -100)
                real += n
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trainable, 1.0)
            optimizer.step()
            optimizer.zero_grad()
        spent.append(time.perf_counter() - began)
        assert loss is not None
        losses.append(float(loss.detach()))

    spent: list[float] = []
    train(100, 2)
    real, flops, spent, losses = 0, 0.0, [], []
    for job in range(jobs):
        train(job, steps)
    # Loading the model again for each job is not held against the peer.
    return Measured(sum(spent), real, peak_bytes("cpu"), losses, flops, machine_flops())


SIDES: dict[str, Callable[[str, int, int, int], Measured]] = {"pando": run_pando, "peft": run_peft}


def in_own_process(side: str, setting: str, jobs: int, steps: int, budget: int, threads: int):
    """Run one side alone in a fresh process, so that peaks and caches are its own."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # Waiting threads sleep: where a core is shared, spinning ones make any figure noise.
        "OMP_WAIT_POLICY": "passive",
    }
    command = [sys.executable, __file__, "--side", side, "--only", setting]
    command += ["--jobs", str(jobs), "--steps", str(steps), "--token-budget", str(budget)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} on {setting} failed:\n{done.stderr[-2000:]}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--jobs", nargs="+", type=int, default=[4, 8])
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps a job")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--token-budget", type=int, default=1024)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        result = SIDES[options.side](
            options.only[0], options.jobs[0], options.steps, options.token_budget
        )
        print(json.dumps(asdict(result)))
        return
    rows = []
    fastest = 0.0
    print(
        f"{'setting':14} {'jobs':>4} {'pando tok/s':>12} {'peft tok/s':>11} {'ratio':>6} "
        f"{'spread':>11} {'counted':>8} {'peak MB':>8} {'÷ 1 job':>8}"
    )
    for setting in options.only:
        alone = in_own_process(
            "pando", setting, 1, options.steps, options.token_budget, options.threads
        )
        for jobs in options.jobs:
            pairs = [
                tuple(
                    in_own_process(
                        side, setting, jobs, options.steps, options.token_budget, options.threads
                    )
                    for side in SIDES
                )
                for _ in range(options.repeats)
            ]
            ratios = [ours.tokens_per_second / theirs.tokens_per_second for ours, theirs in pairs]
            ours, theirs = pairs[0]
            assert ours.real_tokens == theirs.real_tokens
            row = {
                "setting": setting,
                "jobs": jobs,
                "pando_tokens_per_second": statistics.median(p[0].tokens_per_second for p in pairs),
                "peft_tokens_per_second": statistics.median(p[1].tokens_per_second for p in pairs),
                "ratio": statistics.median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "ratio_counted": theirs.flops / ours.flops,
                "flops_per_token": ours.flops / ours.real_tokens,
                "peak_bytes": ours.peak_bytes,
                "peak_bytes_one_job": alone.peak_bytes,
                "peak_over_one_job": ours.peak_bytes / alone.peak_bytes,
                "steps": options.steps,
                "batch_size": BATCH_SIZE,
                "rank": RANK,
                "token_budget": options.token_budget,
                "threads": options.threads,
                "machine": platform.machine(),
            }
            fastest = max(fastest, *(side.machine_flops for pair in pairs for side in pair))
            rows.append(row)
            print(
                f"{setting:14} {jobs:4} {row['pando_tokens_per_second']:12,.0f} "
                f"{row['peft_tokens_per_second']:11,.0f} {row['ratio']:6.2f} "
                f"{row['ratio_min']:5.2f}-{row['ratio_max']:.2f} {row['ratio_counted']:8.2f} "
                f"{ours.peak_bytes / 1e6:8.0f} {row['peak_over_one_job']:8.2f}",
                flush=True,
            )
    for row in rows:  # a machine is as quick as it ever was in the run
        row["limit_tokens_per_second"] = fastest / row["flops_per_token"]
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
