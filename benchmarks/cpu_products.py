"""How quick a CPU core is at the products of a step: the base's, an adapter's, attention's.

    python benchmarks/cpu_products.py [--rows 500]

One thread, fp32, processor time, the median of several. It is why attention with narrow heads holds
its tokens last, and what rank-16 products leave of a core's speed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch


def gigaflops(run: Callable[[], object], flops: float) -> float:
    """Of the median of seven measurements."""
    calls = max(1, int(2e9 / flops))
    run()
    times = []
    for _ in range(7):
        began = time.process_time()
        for _ in range(calls):
            run()
        times.append((time.process_time() - began) / calls)
    return flops / statistics.median(times) / 1e9


def linear(rows: int, width: int, rank: int) -> dict[str, float]:
    """The base's product and an adapter's at one linear [width, width]."""
    x, w, a = torch.randn(rows, width), torch.randn(width, width), torch.randn(rank, width)
    dy, s, grad = torch.randn(rows, width), torch.randn(rows, rank), torch.zeros(width, rank)
    small = 2.0 * rows * width * rank
    return {
        "base": gigaflops(lambda: torch.mm(x, w.t()), 2.0 * rows * width * width),
        "shrink": gigaflops(lambda: torch.mm(x, a.t()), small),
        "grad of B": gigaflops(lambda: grad.addmm_(dy.t(), s), small),
    }


def attention(head_width: int) -> dict[str, float]:
    """P V of four heads, 128 queries and 320 keys, with the result's columns narrow and wide."""
    p, v = torch.randn(4, 128, 320), torch.randn(4, 320, head_width)
    last = v.transpose(1, 2).contiguous()
    flops = 2.0 * 4 * 128 * 320 * head_width
    return {
        "[queries, D]": gigaflops(lambda: torch.bmm(p, v), flops),
        "[D, queries]": gigaflops(lambda: torch.bmm(last, p.transpose(1, 2)), flops),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("GFLOP/s of one thread")
    for width in (64, 256, 512):
        found = linear(options.rows, width, 16)
        print(f"linear {width:4}  " + "  ".join(f"{k} {v:5.0f}" for k, v in found.items()))
    for head_width in (8, 64):
        found = attention(head_width)
        print(f"heads of {head_width:2}  " + "  ".join(f"{k} {v:5.0f}" for k, v in found.items()))


if __name__ == "__main__":
    main()
