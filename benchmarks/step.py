"""Whole training steps on a Llama of 8 billion random weights: many jobs against one by one.

    python benchmarks/step.py [--json FILE] [--seconds N] [--sections ...] [--layers N]

Sections: `gsm8k` and `conversations` are real lengths, packed to 16k tokens a microbatch;
`memory` is four jobs in one process against four processes; `paca` the setting of PaCA's paper
(ICLR 2025): a Llama of 7 billion, 8 sequences of 512 tokens, one job, once also folded into the
base. Tokens are real ones, and a step ends with the optimizer's. `no adapter` runs the base
forward and backward to its first block: the engine trains one column of one linear there, which
is next to nothing. TFLOP/s are of the FLOPs that `step_flops` counts for the data, the same for
both sides; the peak is that of cuBLAS in the same run. peft runs jobs one after another, with the
attention, packing, pieces and checkpointing that its rows tell, adapters of the base's type, a
fused AdamW, and Liger's kernels where they are installed. Without a GPU only --smoke runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"  # lengths, so sizes, change
sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
sys.path.extend(
    str(Path(__file__).resolve().parents[1] / name)
    for name in ("shared", "kernels", "services/worker")
)

import torch
from engine_side import Job, Measured, frozen_probe, run_engine
from length_mixes import Item, batches, mean_length, uniform_batch
from llama_shapes import LLAMA_7B, LLAMA_8B, TINY, LlamaShape, build, step_flops
from measuring import Deadline, Peaks, Stopwatch, measure_peaks, release
from peft_side import CANDIDATES, Settings, register_varlen, run_peft, use_liger, with_lora
from reporting import facts, progress, write
from step_rows import FROZEN, Row, memory_table, ratios_table, speed_table

from pando_shared.adapters import AdapterConfig, LoraConfig, PacaConfig
from pando_worker.engine.base_model import BaseModel, open_base

SECTIONS = ("gsm8k", "conversations", "memory", "paca")
LORA, PACA = LoraConfig(rank=16), PacaConfig(rank=16)
MIXED = [kind(rank=rank) for rank in (8, 16, 32, 64) for kind in (LoraConfig, PacaConfig)] * 2
TOGETHER = 4
"""Jobs whose memory is compared."""

#: The most important first; `no adapter` is what the others are compared with.
OURS: dict[str, list[tuple[str, Sequence[AdapterConfig | None]]]] = {
    "gsm8k": [
        (FROZEN, [None]),
        ("16 LoRA r16", [LORA] * 16),
        ("4 LoRA r16", [LORA] * 4),
        ("16 PaCA r16", [PACA] * 16),
        ("1 LoRA r16", [LORA]),
        ("16 mixed r8-64", MIXED),
        ("64 LoRA r16", [LORA] * 64),
    ],
    "conversations": [(FROZEN, [None]), ("4 LoRA r16", [LORA] * 4)],
}
PEFT_JOBS = {"gsm8k": (4, 16, 1, 64), "conversations": (4,)}
PACA_ROWS: list[tuple[str, AdapterConfig | None]] = [
    (FROZEN, None),
    ("LoRA r8 dropout 0.1", LoraConfig(rank=8, alpha=16.0, dropout=0.1)),
    ("LoRA r8", LoraConfig(rank=8, alpha=16.0)),
    ("PaCA r16", PACA),
    ("PaCA r8", PacaConfig(rank=8)),
]
#: Parts of the time after which nothing of ours on the large model, nor of peft's, is started.
OURS_UNTIL, PEFT_UNTIL = 0.5, 0.85


class Bench:
    """Runs the sections, in the time there is, and keeps the rows."""

    def __init__(self, options: argparse.Namespace, device: torch.device):
        self.sections: list[str] = options.sections
        self.smoke: bool = options.smoke
        self.device = device
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.budget = 256 if self.smoke else options.tokens
        self.longest = 96 if self.smoke else self.budget
        self.large = self._cut(LLAMA_8B, options.layers)
        self.paper = self._cut(LLAMA_7B, options.layers)
        self.deadline = Deadline(options.seconds)
        self.peaks: Peaks = measure_peaks(Stopwatch(device), device, self.dtype)
        self.decoder = ""
        self.rows: list[Row] = []
        self.skipped: list[str] = []

    def _cut(self, shape: LlamaShape, layers: int | None) -> LlamaShape:
        shape = TINY if self.smoke else shape
        return replace(shape, layers=layers) if layers else shape

    def run(self) -> None:
        mixes = [section for section in OURS if section in self.sections]
        if mixes or "memory" in self.sections:
            self._ours(mixes)
            self._peft(mixes)
        if "paca" in self.sections:
            self._paca()

    def _time_left(self, until: float, what: str) -> bool:
        left = self.deadline.left - (1 - until) * self.deadline.seconds
        if left <= 0:
            self.skipped.append(what)
        return left > 0

    def _batches(self, mix: str, jobs: int) -> list[list[Item]]:
        """Jobs' batches, which together fill a microbatch, or more where there are many jobs."""
        size = max(1, round(self.budget / (jobs * min(mean_length(mix), self.longest))))
        return batches(mix, jobs, size, self.large.vocabulary, self.longest)

    def _peft_jobs(self, mix: str) -> Sequence[int]:
        return PEFT_JOBS[mix][:1] if self.smoke else PEFT_JOBS[mix]

    def _base(self, shape: LlamaShape) -> BaseModel:
        model = build(shape, self.device, self.dtype)
        base = open_base(model, f"random {shape}", str(self.device))
        self.decoder = type(base.decoder).__name__
        return base

    def _ours(self, mixes: Sequence[str]) -> None:
        base = self._base(self.large)
        for mix in mixes:
            for name, adapters in OURS[mix]:
                if self._time_left(OURS_UNTIL, f"{mix}: pando, {name}"):
                    data = self._batches(mix, len(adapters))
                    self._our_row(mix, name, base, data, adapters)
        if "memory" in self.sections and self._time_left(OURS_UNTIL, "memory: pando"):
            data = self._batches("gsm8k", TOGETHER)
            self._our_row("memory", f"{TOGETHER} LoRA r16", base, data, [LORA] * TOGETHER, True)
        del base
        release(self.device)

    def _our_row(
        self,
        section: str,
        name: str,
        base: BaseModel,
        data: Sequence[Sequence[Item]],
        adapters: Sequence[AdapterConfig | None],
        lean: bool = False,
        folds: bool = False,
    ) -> None:
        jobs: list[Job] = [
            (items, adapter or frozen_probe(base))
            for items, adapter in zip(data, adapters, strict=True)
        ]
        tokens = sum(len(item) for items in data for item, _ in items)
        # All jobs' batches at once, unless that is far more than a microbatch.
        budget = tokens if tokens < 1.25 * self.budget else self.budget
        warm, steps = (1, 1) if self.smoke else (2, 4)
        shape = self.paper if section == "paca" else self.large
        self._row(
            Row(section, "pando", name, len(jobs)),
            step_flops(shape, list(zip(data, adapters, strict=True))) / tokens,
            lambda: run_engine(base, jobs, budget, warm, steps, lean, folds),
        )

    def _peft(self, mixes: Sequence[str]) -> None:
        model = build(self.large, self.device, self.dtype)
        register_varlen()
        adapted = with_lora(model, LORA.rank)
        for mix in mixes:
            for jobs in self._peft_jobs(mix):
                for settings in CANDIDATES:
                    self._peft_row(mix, jobs, adapted, settings)
        if "memory" in self.sections:
            lean = replace(CANDIDATES[0], checkpointing=True)
            self._peft_row("memory", TOGETHER, adapted, lean)
        if use_liger(model):
            for mix in mixes:
                for jobs in self._peft_jobs(mix):
                    self._peft_row(mix, jobs, adapted, CANDIDATES[0], ", Liger")
        del adapted, model
        release(self.device)

    def _peft_row(
        self,
        section: str,
        jobs: int,
        adapted: Any,
        settings: Settings,
        also: str = "",
    ) -> None:
        name = f"{jobs} LoRA r16, {settings.told}{also}"
        if not self._time_left(PEFT_UNTIL, f"{section}: peft, {name}"):
            return
        data = self._batches("gsm8k" if section == "memory" else section, jobs)
        tokens = sum(len(item) for items in data for item, _ in items)
        seconds = 0 if self.smoke else 3
        self._row(
            Row(section, "peft", f"{jobs} LoRA r16{also}", jobs),
            step_flops(self.large, [(items, LORA) for items in data]) / tokens,
            lambda: run_peft(adapted, data, settings, seconds),
        )

    def _paca(self) -> None:
        size, length = (2, 32) if self.smoke else (8, 512)
        data = [uniform_batch(size, length, self.paper.vocabulary)]
        base = self._base(self.paper)
        for name, adapter in PACA_ROWS:
            if self._time_left(1, f"paca: pando, {name}"):
                self._our_row("paca", name, base, data, [adapter])
        if self._time_left(1, "paca: pando, PaCA r16 folded"):
            self._our_row("paca", "PaCA r16 folded", base, data, [PACA], folds=True)
        del base
        release(self.device)
        register_varlen()
        for name, adapter in PACA_ROWS:
            if isinstance(adapter, LoraConfig) and self._time_left(1, f"paca: peft, {name}"):
                self._peft_paper_row(name, adapter, data)
                release(self.device)

    def _peft_paper_row(
        self, name: str, adapter: LoraConfig, data: Sequence[Sequence[Item]]
    ) -> None:
        tokens = sum(len(item) for items in data for item, _ in items)
        model = build(self.paper, self.device, self.dtype)
        adapted = with_lora(model, adapter.rank, adapter.dropout)
        self._row(
            Row("paca", "peft", name, 1),
            step_flops(self.paper, [(items, adapter) for items in data]) / tokens,
            lambda: run_peft(adapted, data, CANDIDATES[0], 0 if self.smoke else 3),
        )

    def _row(self, row: Row, flops_per_token: float, measure: Callable[[], Measured]) -> None:
        try:
            found = measure()
        except Exception as failure:  # what else there is to measure is measured all the same
            row = replace(row, failure=f"{type(failure).__name__}: {failure}")
        else:
            speed = found.tokens_per_second
            frozen = next(
                (
                    other.tokens_per_second
                    for other in self.rows
                    if (other.section, other.side, other.name) == (row.section, "pando", FROZEN)
                ),
                speed if row.name == FROZEN else None,
            )
            row = replace(
                row,
                tokens_per_second=speed,
                flops_per_second=speed * flops_per_token,
                flops_share=speed * flops_per_token / self.peaks.flops_per_second,
                frozen_share=speed / frozen if frozen else None,
                peak_bytes=found.peak_bytes,
                settings=found.settings,
            )
        self.rows.append(row)
        release(self.device)
        progress(
            f"{row.section}: {row.side}, {row.name}: {row.tokens_per_second or row.failure}, "
            f"{self.deadline.left:.0f} s left"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write all rows here")
    parser.add_argument("--seconds", type=float, default=400, help="start nothing after this time")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--layers", type=int, help="blocks of the model; fewer need less memory")
    parser.add_argument("--tokens", type=int, default=16384, help="tokens of a microbatch")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, on whatever there is")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.smoke:
        raise SystemExit("no GPU here: only --smoke runs")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench(options, device)
    bench.run()
    about = facts(device)
    write(
        options.json,
        {
            "facts": about,
            "peaks": asdict(bench.peaks),
            "decoder": bench.decoder,
            "large": asdict(bench.large),
            "paper": asdict(bench.paper),
            "microbatch_tokens": bench.budget,
            "skipped": bench.skipped,
            "rows": [asdict(row) for row in bench.rows],
        },
    )
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    print(f"decoder: {bench.decoder}\npeaks: {bench.peaks.told}")
    for what in bench.skipped:
        print(f"out of time: {what}")
    print("", memory_table(bench.rows, TOGETHER), "", ratios_table(bench.rows), sep="\n")
    print("", speed_table(bench.rows), sep="\n")
    if all(row.failure for row in bench.rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
