"""Find the fastest configuration of every kernel with products on this GPU, and keep it.

    python benchmarks/tune_kernels.py [--kernel NAME] [--extent N] [--write]

For each kernel and width of a layer, all configurations of a small grid are timed (median, cold
second-level cache). One that beats the present choice by 3 % or more is put into `configs.json`
under the device's name with --write, and so is whether the base product with the adapters in its
epilogue then beats the library's product with `expand` behind it. `--list` says what would be
timed; `--smoke` runs the first two configurations of each kernel once on tiny tensors, wherever
Triton runs.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import memory_problem
import triton
from memory_problem import MemoryProblem
from torch.nn import functional
from triton.testing import do_bench

from pando_kernels import triton_ops
from pando_kernels.backend import always_triton
from pando_kernels.group_adapters import GroupAdapters, SlotAdapter
from pando_kernels.lora import LoraLinear
from pando_kernels.pending import Pending
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.swiglu import swiglu, swiglu_backward
from pando_kernels.triton import configs
from pando_kernels.triton.configs import Config, power_of_two, trying
from pando_kernels.triton.gemm_expand import gemm_expand

JOBS = 4
EXTENTS = (1024, 2048, 4096, 8192, 16384)
#: What a new configuration must save to replace the present one: more than timings scatter.
WORTHWHILE = 0.03
DTYPE = torch.bfloat16


@dataclass(frozen=True, slots=True)
class Problem:
    """JOBS equal segments of one linear layer [n, k], and what the operations take and give.

    Where k = n, `first`, the first linear alone, and ds serve for one that reads activations.
    """

    x: torch.Tensor
    y: torch.Tensor
    s: torch.Tensor
    ds: torch.Tensor
    weight: torch.Tensor
    group: GroupAdapters
    first: GroupAdapters
    layout: SegmentLayout

    @staticmethod
    def of(
        tokens: int, k: int, n: int, rank: int, device: torch.device, linears: int = 1
    ) -> Problem:
        """y and weight have the outputs of all `linears`, which read the same x."""

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, device=device, dtype=DTYPE)

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, device=device)

        def lora() -> LoraLinear:
            a, b, grad_a, grad_b = normal(rank, k), normal(n, rank), zeros(rank, k), zeros(n, rank)
            return LoraLinear(a, b, grad_a, grad_b, 1.0)

        slots = tuple(SlotAdapter(tuple(lora() for _ in range(linears))) for _ in range(JOBS))
        group = GroupAdapters(slots, (n,) * linears)
        first = GroupAdapters(tuple(SlotAdapter(slot.members[:1]) for slot in slots), (n,))
        starts = tuple(tokens * j // JOBS for j in range(JOBS + 1))
        layout = SegmentLayout(starts, tuple(range(JOBS)), device)
        return Problem(
            x=normal(tokens, k),
            y=normal(tokens, n * linears),
            s=normal(tokens, group.columns),
            ds=normal(tokens, first.columns),
            weight=normal(n * linears, k),
            group=group,
            first=first,
            layout=layout,
        )


@dataclass(frozen=True, slots=True)
class Search:
    """Which operation launches a kernel, on what problem, and what to try.

    `along` is "k" or "n", or "k and n" where a linear is to be as wide as its input, or "d" for a
    sparse memory, whose experts have `rank` rows.
    """

    run: Callable[[Any], Any]
    along: str
    options: dict[str, tuple[int, ...]]
    rank: int = 16
    linears: int = 1

    def problem(
        self, tokens: int, extent: int, other: int, device: torch.device
    ) -> Problem | MemoryProblem:
        """What is not along the extent is as wide as `other`."""
        if self.along == "d":
            return MemoryProblem.of(tokens, extent, self.rank, DTYPE, device)
        k, n = (extent if axis in self.along else other for axis in "kn")
        return Problem.of(tokens, k, n, self.rank, device, self.linears)


def shrink(p: Problem) -> Any:
    return triton_ops.shrink(p.x, p.group, p.layout)


def expand(p: Problem) -> Any:
    return triton_ops.expand(p.s, p.group, p.layout, p.y)


def reduce(p: Problem) -> Any:
    return triton_ops.reduce(p.y, p.s, p.group, p.layout)


def weigh(p: Problem) -> Any:
    return triton_ops.weigh(p.s, p.x, p.group, p.layout)


def unshrink(p: Problem) -> Any:
    return triton_ops.unshrink(p.s, p.group, p.layout, p.x)


def base_product(p: Problem) -> Any:
    return gemm_expand(p.x, p.weight, None, p.s, p.group, p.layout)


def activation(p: Problem) -> Any:
    with always_triton():
        return swiglu(p.y, "silu", Pending(p.s, p.group, p.layout))


def activation_backward(p: Problem) -> Any:
    pending, pending_dact = Pending(p.s, p.group, p.layout), Pending(p.ds, p.first, p.layout)
    with always_triton():
        return swiglu_backward(p.x, p.y, "silu", pending, pending_dact)


WARPS = (4, 8)
SEARCHES = {
    "shrink": Search(
        shrink, "k", {"block": (64, 128, 256), "warps": WARPS, "stages": (2, 3, 4, 5)}
    ),
    "expand": Search(expand, "n", {"block": (64, 128, 256), "warps": WARPS}),
    "unshrink": Search(unshrink, "k", {"block": (64, 128, 256), "warps": WARPS}),
    "swiglu_pending": Search(activation, "n", {"block": (32, 64, 128), "warps": WARPS}, linears=2),
    "swiglu_pending_backward": Search(
        activation_backward, "k and n", {"block": (32, 64, 128), "warps": WARPS}, linears=2
    ),
    "reduce_narrow": Search(
        reduce,
        "n",
        {"block": (128, 256), "span": (1, 2, 4), "warps": WARPS, "stages": (2, 3, 4)},
    ),
    "sum_ds": Search(reduce, "n", {"warps": (2, 4, 8)}),
    "sum_db": Search(reduce, "n", {"block": (32, 64, 128), "warps": (2, 4)}),
    "reduce_pass": Search(
        reduce, "n", {"block": (64, 128), "warps": WARPS, "stages": (2, 3, 4)}, rank=128
    ),
    "reduce_wide": Search(
        reduce,
        "n",
        {"block": (64, 128), "span": (1, 2, 4), "warps": WARPS, "stages": (2, 3, 4)},
        rank=128,
    ),
    "weigh": Search(
        weigh,
        "k",
        {"block": (64, 128, 256), "span": (1, 2, 4), "warps": WARPS, "stages": (2, 3, 4)},
    ),
    "sum_da": Search(weigh, "k", {"block": (32, 64, 128), "warps": (2, 4, 8)}),
    "gemm_expand": Search(
        base_product,
        "k",
        {"block": (128, 256), "depth": (32, 64, 128), "warps": WARPS, "stages": (2, 3, 4)},
    ),
    "meft_lookup": Search(
        memory_problem.lookup,
        "d",
        {"block": (32, 64, 128), "rows": (64, 128), "warps": WARPS, "stages": (3, 4, 5)},
        rank=64,
    ),
    "meft_combine": Search(
        memory_problem.combine,
        "d",
        {"block": (128, 256), "rows": (64, 128), "warps": WARPS, "stages": (1, 2, 3)},
        rank=64,
    ),
    "meft_sum": Search(
        memory_problem.combine,
        "d",
        {"block": (128, 256, 512), "rows": (1, 2, 4, 8), "warps": WARPS},
        rank=64,
    ),
    "meft_weigh": Search(
        memory_problem.weigh,
        "d",
        {"block": (64, 128, 256), "rows": (32, 64), "warps": WARPS, "stages": (2, 3, 4)},
        rank=64,
    ),
}


def candidates(search: Search, present: Config) -> Iterator[Config]:
    """The present configuration, then all others of the grid."""
    yield present
    names = list(search.options)
    for values in product(*search.options.values()):
        one = replace(present, **dict(zip(names, values, strict=True)))
        if one != present:
            yield one


def library_product(p: Problem) -> Any:
    y = functional.linear(p.x, p.weight)
    triton_ops.expand(p.s, p.group, p.layout, y)
    return y


def milliseconds(run: Callable[[], Any]) -> float:
    """Median; infinite if the GPU has no room for the configuration."""
    try:
        return float(do_bench(run, return_mode="median"))
    except triton.runtime.errors.OutOfResources:
        return float("inf")


def tuned(
    name: str, problem: Problem | MemoryProblem, extent: int
) -> tuple[Config, Config, float, float]:
    """(present, best, milliseconds with each) of one kernel; the best may be the present."""
    search = SEARCHES[name]
    present = configs.config(name, extent, DTYPE, problem.x.device)
    times = {}
    for one in candidates(search, present):
        with trying(name, one):
            times[one] = milliseconds(lambda: search.run(problem))
    best = min(times, key=lambda one: times[one])
    return present, best, times[present], times[best]


def kept(device: str, found: dict[tuple[str, int], Config], epilogue: dict[int, bool]) -> None:
    """Put configurations, and where the epilogue pays, into the package's table."""
    path = Path(configs.__file__).with_name("configs.json")
    table = json.loads(path.read_text())
    kernels = table.setdefault(device, {})
    for (kernel, extent), chosen in found.items():
        defaults = {field.name: field.default for field in fields(Config)}
        changed = {k: v for k, v in asdict(chosen).items() if v != defaults[k]}
        bits = kernels.setdefault(kernel, {}).setdefault(str(DTYPE.itemsize * 8), {})
        bits[str(power_of_two(extent))] = changed
    for extent, pays in epilogue.items():
        bits = kernels.setdefault("epilogue", {}).setdefault(str(DTYPE.itemsize * 8), {})
        bits[str(power_of_two(extent))] = {"pays": int(pays)}
    path.write_text(json.dumps(table, indent=2) + "\n")


def smoke(name: str) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    search = SEARCHES[name]
    problem = search.problem(5, 16, 16, device)
    present = configs.config(name, 16, DTYPE, device)
    for _, one in zip(range(2), candidates(search, present), strict=False):
        with trying(name, one):
            search.run(problem)
    print(f"{name}: ran")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernel", choices=list(SEARCHES), action="append")
    parser.add_argument(
        "--extent", type=int, action="append", help="of K, N or d; default: several"
    )
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--write", action="store_true", help="change configs.json")
    parser.add_argument("--list", action="store_true", help="say what would be timed, and stop")
    parser.add_argument("--smoke", action="store_true", help="run a little of it, and stop")
    options = parser.parse_args()
    found: dict[tuple[str, int], Config] = {}
    epilogue: dict[int, bool] = {}
    for name in options.kernel or SEARCHES:
        search = SEARCHES[name]
        if options.smoke:
            smoke(name)
            continue
        for extent in options.extent or EXTENTS:
            if options.list:
                present = configs.config(name, extent, DTYPE, torch.device("cpu"))
                count = sum(1 for _ in candidates(search, present))
                print(f"{name} {search.along}={extent} rank={search.rank}: {count} configurations")
                continue
            problem = search.problem(options.tokens, extent, 4096, torch.device("cuda"))
            present, best, before, after = tuned(name, problem, extent)
            print(f"{name} {search.along}={extent}: {before:.4f} ms -> {after:.4f} ms  {best}")
            if after < before * (1 - WORTHWHILE):
                found[name, extent] = best
            if name == "gemm_expand":
                library = milliseconds(partial(library_product, problem))
                epilogue[extent] = min(before, after) < library * (1 - WORTHWHILE)
                print(f"    the library's product and expand: {library:.4f} ms")
    if options.write and (found or epilogue):
        kept(torch.cuda.get_device_name(), found, epilogue)


if __name__ == "__main__":
    main()
