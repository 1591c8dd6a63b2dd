"""Time and memory of MEFT's layer on one thread of a CPU, against a dense adapter's."""

from __future__ import annotations

import ctypes
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from meft_sides import Dense, Problem, Side, Sparse
from reporting import facts, progress, table

from pando_shared.adapters import MeftConfig

PHASES = ("forward", "backward", "update")
#: Steps after which a process has taken all the memory that training takes.
_STEPS = 3
#: As glibc's malloc.h numbers it.
_MMAP_THRESHOLD = -3


@dataclass(frozen=True, slots=True)
class CpuSizes:
    d: int = 512
    tokens: int = 512
    keys: tuple[int, ...] = (1024, 2048, 4096, 8192, 16384)
    top_k: int = 64
    repeats: int = 9


SMOKE = CpuSizes(d=64, tokens=64, keys=(1024, 4096), top_k=8, repeats=2)


@dataclass(frozen=True, slots=True)
class SideFound:
    """Milliseconds of a processor, medians; bytes by which training makes a process grow."""

    forward_ms: float
    backward_ms: float
    update_ms: float
    resident_bytes: int

    @property
    def step_ms(self) -> float:
        return self.forward_ms + self.backward_ms + self.update_ms


@dataclass(frozen=True, slots=True)
class CpuRow:
    """Adapters of as many keys. Ratios are MEFT's over the dense one's; `step_ratio` is the median
    of those of steps taken one after the other."""

    keys: int
    experts: int
    probes: int
    touched_rows: int
    meft: SideFound
    dense: SideFound
    step_ratio: float

    @property
    def bytes_ratio(self) -> float:
        return self.meft.resident_bytes / self.dense.resident_bytes


def measure_cpu(sizes: CpuSizes) -> dict[str, Any]:
    """All rows, and how times grow with the keys M: the exponent of each, by least squares."""
    torch.set_num_threads(1)
    configs = [MeftConfig(num_keys=keys, top_k=sizes.top_k) for keys in sizes.keys]
    grown = [_grown(sizes, config) for config in configs]  # first, while little is allocated
    rows = _timed(sizes, configs, grown)
    exponents = {
        side: {
            what: _exponent(sizes.keys, [_milliseconds(getattr(row, side), what) for row in rows])
            for what in (*PHASES, "passes", "step")
        }
        for side in ("meft", "dense")
    }
    return {
        "facts": facts(torch.device("cpu")),
        "sizes": asdict(sizes),
        "rows": [{**asdict(row), "bytes_ratio": row.bytes_ratio} for row in rows],
        "exponents": exponents,
        "printed": f"{cpu_table(rows)}\n\n{_exponent_table(exponents)}",
    }


def _grown(sizes: CpuSizes, config: MeftConfig) -> tuple[int, int]:
    problem = Problem.of(sizes.tokens, sizes.d)
    return (
        growth(lambda: _train(Sparse(problem, config)), _warm),
        growth(lambda: _train(Dense(problem, config.num_keys)), _warm),
    )


def _warm() -> None:
    """Have libraries load what they need."""
    few = Problem.of(64, 64)
    _train(Sparse(few, MeftConfig(num_keys=256, top_k=8)))
    _train(Dense(few, 256))


def _train(side: Side) -> None:
    for _ in range(_STEPS):
        side.forward()
        side.backward()
        side.update()


def growth(work: Callable[[], None], warm: Callable[[], None]) -> int:
    """Bytes that a process' resident memory grows by while it works, at most: in one forked off,
    and behind `warm`.

    Raises:
        RuntimeError: the work failed there.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 16)  # what is freed goes back at once
            warm()
            before = _peak_resident()
            work()
            os.write(writer, str(_peak_resident() - before).encode())
            status = 0
        except BaseException as failure:
            print(f"{type(failure).__name__}: {failure}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    if os.waitpid(child, 0)[1] or not text:
        raise RuntimeError("the process whose memory was to be measured failed; see its message")
    return int(text)


def _peak_resident() -> int:
    """Of this process so far. Linux counts KiB, and starts anew where a process is forked."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _timed(
    sizes: CpuSizes, configs: Sequence[MeftConfig], grown: Sequence[tuple[int, int]]
) -> list[CpuRow]:
    """Every size's two sides in turn, then all of that again: what disturbs them disturbs all."""
    problem = Problem.of(sizes.tokens, sizes.d)
    pairs = [(Sparse(problem, c), Dense(problem, c.num_keys)) for c in configs]
    spent: list[tuple[list[list[float]], list[list[float]]]] = [([], []) for _ in pairs]
    for repeat in range(sizes.repeats + 1):
        for sides, times in zip(pairs, spent, strict=True):
            for side, found in zip(sides, times, strict=True):
                step = [_processor_ms(getattr(side, phase)) for phase in PHASES]
                if repeat:  # the first touches memory for the first time
                    found.append(step)
        progress(f"repeat {repeat} of {sizes.repeats}")
    rows = []
    for config, (sparse, _), (ours, theirs), peaks in zip(
        configs, pairs, spent, grown, strict=True
    ):
        ratios = [sum(a) / sum(b) for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            CpuRow(
                keys=config.num_keys,
                experts=config.experts,
                probes=config.probes,
                touched_rows=sparse.touched_rows,
                meft=_medians(ours, peaks[0]),
                dense=_medians(theirs, peaks[1]),
                step_ratio=statistics.median(ratios),
            )
        )
    return rows


def _medians(steps: Sequence[Sequence[float]], resident_bytes: int) -> SideFound:
    forward, backward, update = (
        round(statistics.median(phase), 3) for phase in zip(*steps, strict=True)
    )
    return SideFound(forward, backward, update, resident_bytes)


def _processor_ms(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return 1e3 * (time.process_time() - began)


def _milliseconds(found: SideFound, what: str) -> float:
    if what == "passes":
        return found.forward_ms + found.backward_ms
    return float(getattr(found, f"{what}_ms"))


def _exponent(keys: Sequence[int], milliseconds: Sequence[float]) -> float:
    """e of time ~ Mᵉ."""
    logs = np.log(np.maximum(milliseconds, 1e-6))
    return float(np.polyfit(np.log(keys), logs, 1)[0])


def cpu_table(rows: Sequence[CpuRow]) -> str:
    heads = ("keys", "experts", "touched", "MEFT fwd", "bwd", "update", "dense fwd", "bwd")
    return table(
        (*heads, "update", "step ratio", "MEFT MB", "dense MB", "bytes ratio"),
        (
            (
                row.keys,
                row.experts,
                row.touched_rows,
                *(_milliseconds(row.meft, phase) for phase in PHASES),
                *(_milliseconds(row.dense, phase) for phase in PHASES),
                row.step_ratio,
                row.meft.resident_bytes / 1e6,
                row.dense.resident_bytes / 1e6,
                row.bytes_ratio,
            )
            for row in rows
        ),
    )


def _exponent_table(exponents: dict[str, dict[str, float]]) -> str:
    names = list(exponents["meft"])
    return table(
        ("time grows as M to the power of", *names),
        ((side, *(exponents[side][name] for name in names)) for side in exponents),
    )
