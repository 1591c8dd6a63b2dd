"""Every segment operation, and whole linear layers, against the floors and against others' ways.

    python benchmarks/segment_kernels.py [--json FILE] [--seconds N] [--lorafusion CHECKOUT]

Times are medians with cold caches, of the device alone; `start ms` is what Python takes to start
an operation. Shares are of the least time that the operation's bytes or FLOPs take at the peaks
measured in the same run: a copy, and a product of large matrices. The second table gives forward
and backward of whole layers as time beyond the frozen layer's, in % of that: `loop` is one frozen
product and cuBLAS job by job; `by job` has a product of its own for each job (Unsloth's way);
`peft` is its layer under autograd; `fusion` is LoRAFusion's. The last columns are compared with
the frozen product one way: `g, e` a product, then expand; `g+e` both in one kernel; and adapters
concatenated to the operands of cuBLAS. Without a GPU only --smoke runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
sys.path.extend(str(Path(__file__).resolve().parents[1] / name) for name in ("shared", "kernels"))

import torch
from linear_operations import Operation, frozen_operations, lora_operations, paca_operations
from linear_peers import PEERS, Run, segment_loop
from linear_problem import Case, Problem, Shape
from linear_tables import Row, layers_table, operations_table
from lorafusion_peer import LoraFusion
from measuring import Deadline, Peaks, Stopwatch, measure_peaks, release
from reporting import facts, progress, write

from pando_kernels.segment_ops import SegmentOps, using

SHAPES = (
    Shape("4096->14336", 4096, (14336,)),
    Shape("14336->4096", 14336, (4096,)),
    Shape("4096->4096", 4096, (4096,)),
    Shape("4096->qkv", 4096, (4096, 1024, 1024)),
)
#: The least important last: what a run has no time for is at the end.
TOKENS, RANKS, JOBS = (8192, 16384, 32768), (16, 64), (16, 4, 1, 64)
SMOKE_CASES = (
    Case(Shape("32->48", 32, (48,)), tokens=40, jobs=1, rank=16),
    Case(Shape("32->qkv", 32, (32, 16, 16)), tokens=40, jobs=3, rank=16),
)
#: Rounding in 16 bit, relative to the whole of y, dx or a gradient.
TOLERANCE = 0.03


def cases(smoke: bool) -> list[Case]:
    if smoke:
        return list(SMOKE_CASES)
    found = [
        (tokens_at + 2 * rank_at, jobs_at, Case(shape, tokens, jobs, rank))
        for (tokens_at, tokens), (rank_at, rank), (jobs_at, jobs), shape in product(
            enumerate(TOKENS), enumerate(RANKS), enumerate(JOBS), SHAPES
        )
    ]
    return [case for *_, case in sorted(found, key=lambda entry: entry[:2])]


def operations(problem: Problem, lorafusion: LoraFusion | None) -> Iterator[Operation]:
    yield from frozen_operations(problem)
    yield from lora_operations(problem)
    yield from paca_operations(problem)
    others: dict[str, Callable[[Problem], Run | None]] = dict(PEERS)
    if lorafusion is not None:
        others["LoRAFusion"] = lorafusion.layer
    for name, prepare in others.items():
        try:
            run = prepare(problem)
        except ImportError as missing:
            run = partial(_refuse, missing)
        if run is not None:
            yield Operation(name, run, 0, 0)


def _refuse(missing: ImportError) -> None:
    raise missing


def measure(
    problem: Problem,
    peaks: Peaks,
    stopwatch: Stopwatch,
    deadline: Deadline,
    lorafusion: LoraFusion | None,
) -> Iterator[Row]:
    case = problem.case
    for operation in operations(problem, lorafusion):
        if deadline.passed:
            return
        try:
            timing = stopwatch.time(operation.run)
        except Exception as failure:  # one kernel that cannot run must not cost the other rows
            yield Row(case, operation.name, None, failure=f"{type(failure).__name__}: {failure}")
            continue
        by_flops, by_bytes = peaks.seconds(operation.flops, operation.bytes)
        yield Row(
            case,
            operation.name,
            timing.seconds,
            timing.host_seconds,
            by_bytes / timing.seconds if by_bytes else None,
            by_flops / timing.seconds if by_flops else None,
        )


def largest_error(problem: Problem) -> float:
    """How far y, dx and the gradients are from those of cuBLAS job by job, relative to each."""
    layers = [adapter for job in problem.lora.adapters.jobs for adapter in job.values()]

    def results(run: Callable[[], object]) -> list[torch.Tensor]:
        for layer in layers:
            layer.grad_a.zero_()
            layer.grad_b.zero_()
        y, dx = cast(tuple[torch.Tensor, torch.Tensor], run())
        grads = [grad.clone() for layer in layers for grad in (layer.grad_a, layer.grad_b)]
        return [y, dx, *grads]

    ours = results(lambda: problem.forward_backward(problem.lora))
    theirs = results(segment_loop(problem))
    errors = [
        float((a - b).norm(dtype=torch.float32) / b.norm(dtype=torch.float32).clamp_min(1e-20))
        for a, b in zip(ours, theirs, strict=True)
    ]
    return max(errors)


def find_lorafusion(checkout: Path | None) -> tuple[LoraFusion | None, str]:
    if checkout is None:
        return None, "not measured: needs --lorafusion with a checkout of CentML/lorafusion"
    try:
        return LoraFusion(checkout), "measured at up to 4 jobs"
    except Exception as failure:
        return None, f"not measured: {type(failure).__name__}: {failure}"


def run_all(
    wanted: list[Case],
    device: torch.device,
    peaks: Peaks,
    stopwatch: Stopwatch,
    deadline: Deadline,
    lorafusion: LoraFusion | None,
) -> tuple[list[Row], list[str]]:
    """Rows of as many cases as there is time for, and what was wrong with results."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    rows: list[Row] = []
    wrong: list[str] = []
    for case in wanted:
        if deadline.passed:
            break
        try:
            problem = Problem(case, device, dtype)
            error = largest_error(problem)
            if not error <= TOLERANCE:
                wrong.append(f"{case.title}: results differ by {error:.2g}")
            rows += measure(problem, peaks, stopwatch, deadline, lorafusion)
            del problem
            release(device)
        except Exception as failure:  # what has been measured is to be told in any case
            wrong.append(f"{case.title}: {type(failure).__name__}: {failure}")
            break
        progress(f"{case.title}: done, {deadline.left:.0f} s left")
    return rows, wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write all rows here")
    parser.add_argument("--seconds", type=float, default=400, help="start nothing after this time")
    parser.add_argument("--lorafusion", type=Path, help="a checkout of CentML/lorafusion")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="tiny sizes; without a GPU, Triton's interpreter, in fp32 because it lacks bf16",
    )
    options = parser.parse_args()
    deadline = Deadline(options.seconds)
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not options.smoke:
        raise SystemExit("no GPU here: only --smoke runs")
    if not on_gpu:
        os.environ["TRITON_INTERPRET"] = "1"  # read when triton is first imported
    from pando_kernels import triton_ops

    device = torch.device("cuda" if on_gpu else "cpu")
    stopwatch = Stopwatch(device, 1 if options.smoke else options.repeats)
    peaks = measure_peaks(stopwatch, device, torch.bfloat16 if on_gpu else torch.float32)
    lorafusion, lorafusion_note = find_lorafusion(options.lorafusion)
    wanted = cases(options.smoke)
    with using(cast(SegmentOps, triton_ops)):
        rows, wrong = run_all(wanted, device, peaks, stopwatch, deadline, lorafusion)
    about = facts(device)
    write(
        options.json,
        {
            "facts": about,
            "peaks": asdict(peaks),
            "lorafusion": lorafusion_note,
            "wrong": wrong,
            "rows": [asdict(row) for row in rows],
        },
    )
    measured = len({row.case for row in rows})
    failed = [row for row in rows if row.failure]
    lines = [
        *(f"{key}: {value}" for key, value in about.items()),
        f"peaks: {peaks.told}",
        f"LoRAFusion: {lorafusion_note}",
        f"cases: {measured} of {len(wanted)}",
        *(f"FAILED {row.case.title} {row.operation}: {row.failure}"[:150] for row in failed[:8]),
        *(f"WRONG {line}"[:300] for line in wrong),
    ]
    print("\n".join(lines))
    if rows:
        print("", operations_table(rows), "", layers_table(rows), sep="\n")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
