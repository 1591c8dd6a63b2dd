"""What adapters must cost on a GPU, by count: bytes and FLOPs beside the frozen products'.

    python benchmarks/roofline.py [--tflops 790] [--tb-per-second 4.3] [--rank 16]

The frozen products are bound by arithmetic, the adapters' passes by memory; the overhead of an
adapter method is the one's time over the other's. Peaks are those of an H200 as measured with one
large product and one large copy; give your own. Nothing here is timed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

#: Linears of one Llama 3.1 8B block as the engine runs them: (inputs K, outputs N) of each group.
BLOCK = {
    "q, k, v": (4096, 6144),
    "out": (4096, 4096),
    "gate, up": (4096, 28672),
    "down": (14336, 4096),
}
LAYERS = 32
HEAD = (4096, 128256)
HEADS, HEAD_WIDTH = 32, 128


@dataclass(frozen=True)
class Machine:
    """Peaks: FLOP/s of bf16 products, bytes/s of memory."""

    flops: float
    bandwidth: float


@dataclass(frozen=True)
class Passes:
    """Bytes a token that one way of running adapters moves at a linear, in units of K and N.

    An activation's number takes 2 bytes: reading or writing X is 2 K, Y 2 N.
    """

    name: str
    per_input: float
    per_output: float


#: Separate: shrink and weigh read X, unshrink reads and writes dX; expand reads and writes Y,
#: reduce reads dY once and its partial sums add a quarter.
SEPARATE = Passes("separate passes", 2 + 2 + 4, 4 + 2.5)
#: The activation's kernels make gate and up's expand, and down's unshrink, as they read.
IN_ACTIVATION = {
    "gate, up": Passes("expand within the activation", 2 + 2 + 4, 2.5),
    "down": Passes("unshrink within the activation", 2 + 2, 4 + 2.5),
}
PACA_IN_ACTIVATION = {
    "gate, up": Passes("PaCA, expand within the activation", 0, 2.5),
}
#: In the epilogue of the base products nothing is read or written again but X, X and dY.
EPILOGUE = Passes("all in epilogues", 2 + 2, 2.5)
#: A product a job and `addmm` into Y and dX, two passes over dY; peft's way copies besides.
ADDMM = Passes("cuBLAS and addmm", 8, 8)
EAGER = Passes("module by module", 12, 12)
PACA = Passes("PaCA, separate", 0, 4 + 2.5)


def frozen_seconds(machine: Machine, k: int, n: int) -> float:
    """Forward and dX of one token at one linear."""
    return 4 * k * n / machine.flops


def overhead(machine: Machine, passes: Passes, k: int, n: int, rank: int) -> float:
    """The adapters' time of one token over the frozen products'."""
    moved = passes.per_input * k + passes.per_output * n
    products = 6 * rank * ((k if passes.per_input else 0) + n)
    return (moved / machine.bandwidth + products / machine.flops) / frozen_seconds(machine, k, n)


def block_overhead(machine: Machine, rank: int, ways: dict[str, Passes]) -> float:
    """Of a whole block; `ways` says how each group runs."""
    frozen = sum(frozen_seconds(machine, k, n) for k, n in BLOCK.values())
    extra = sum(
        overhead(machine, ways[name], k, n, rank) * frozen_seconds(machine, k, n)
        for name, (k, n) in BLOCK.items()
    )
    return extra / frozen


def tokens_per_second(machine: Machine, length: int, recompute: bool) -> float:
    """The ceiling of the whole model without adapters, at sequences of this length."""
    linears = sum(k * n for k, n in BLOCK.values())
    attention = 2 * 2 * (length / 2) * HEADS * HEAD_WIDTH
    flops = LAYERS * (4 * linears + 3.5 * attention) + 4 * HEAD[0] * HEAD[1]
    if recompute:
        flops += LAYERS * (2 * linears + attention)
    return machine.flops / flops


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tflops", type=float, default=790.0)
    parser.add_argument("--tb-per-second", type=float, default=4.3)
    parser.add_argument("--rank", type=int, default=16)
    options = parser.parse_args()
    machine = Machine(options.tflops * 1e12, options.tb_per_second * 1e12)
    rank = options.rank

    ways = (SEPARATE, EPILOGUE, ADDMM, EAGER, PACA)
    print(f"{'% of the frozen products':24}" + "".join(f"{way.name:>20}" for way in ways))
    for name, (k, n) in BLOCK.items():
        cells = "".join(f"{100 * overhead(machine, way, k, n, rank):20.1f}" for way in ways)
        print(f"{name + f' {k}→{n}':24}{cells}")
    whole = "".join(
        f"{100 * block_overhead(machine, rank, dict.fromkeys(BLOCK, way)):20.1f}" for way in ways
    )
    print(f"{'a whole block':24}{whole}")
    lora = block_overhead(machine, rank, dict.fromkeys(BLOCK, SEPARATE) | IN_ACTIVATION)
    paca = block_overhead(machine, rank, dict.fromkeys(BLOCK, PACA) | PACA_IN_ACTIVATION)
    print(f"a whole block as Pando runs it: LoRA {100 * lora:.1f}, PaCA {100 * paca:.1f}\n")
    for length in (512, 4096):
        plain, again = (tokens_per_second(machine, length, flag) for flag in (False, True))
        print(
            f"8B without adapters, sequences of {length}: at most {plain:,.0f} tokens/s, "
            f"{again:,.0f} when every block is recomputed"
        )


if __name__ == "__main__":
    main()
