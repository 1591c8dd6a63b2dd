"""Compile every kernel for sm_80 and sm_90 and say what it takes of a multiprocessor.

The operations are called as in training, on small numbers of rows of a model's widths; what they
would launch is compiled, with the same specialisation of arguments. It needs no GPU, and
TRITON_INTERPRET unset.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget

from pando_kernels.triton.configs import Config, assuming
from pando_kernels.triton.launch import recorded

sys.path.insert(0, str(Path(__file__).parent))
from aot_cases import CASES

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
ARCHITECTURES = {"sm_80": 80, "sm_90": 90}
#: Instructions that are counted: tensor cores (of a warp group, of a warp), asynchronous copies,
#: global loads by width, local memory.
COUNTED = {
    "HGMMA": r"\bHGMMA\b",
    "HMMA": r"\bHMMA\b",
    "LDGSTS": r"\bLDGSTS\b",
    "LDG128": r"\bLDG\.E\S*\.128\b",
    "LDG64": r"\bLDG\.E\S*\.64\b",
    "LDG32": r"\bLDG\.E(?!\S*\.(128|64|U16|U8|S16|S8))\S*",
    "LDG16": r"\bLDG\.E\S*\.[US]16\b",
    "LDL": r"\bLDL\b",
    "STL": r"\bSTL\b",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """One compiled kernel; bytes of spills are of a thread, shared bytes of a block."""

    case: str
    kernel: str
    architecture: str
    options: dict[str, Any]
    warps: int
    stages: int
    registers: int
    spill_bytes: int
    shared_bytes: int
    instructions: dict[str, int]


class NoDevice:
    """What Triton asks of a driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return self.target.arch

    def get_current_stream(self, device: int) -> int:
        return 0


def launches(case: Callable[[], None], architecture: str) -> Iterator[tuple[Any, Any, Config]]:
    found: list[tuple[Any, dict[str, Any], Config]] = []
    with assuming(architecture), recorded(lambda *one: found.append(one)):
        case()
    return iter(found)


def disassembled(cubin: bytes) -> tuple[str, str]:
    """(resource usage, SASS)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        commands = ([TOOLS / "cuobjdump", "-res-usage", path], [TOOLS / "nvdisasm", "-c", path])
        outputs = [
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
            for command in commands
        ]
    return outputs[0], outputs[1]


def compiled(case: str, architecture: str, kernel: Any, arguments: Any, config: Config) -> Usage:
    binary = kernel.run(
        grid=(1,), warmup=True, **arguments, num_warps=config.warps, num_stages=config.stages
    )
    resources, sass = disassembled(binary.asm["cubin"])
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", resources)
    if found is None:
        raise RuntimeError(f"cuobjdump gives no usage: {resources}")
    registers, stack, local = map(int, found.groups())
    constants = {p.name for p in kernel.params if p.is_constexpr}
    return Usage(
        case,
        kernel.fn.__name__,
        architecture,
        {name: value for name, value in arguments.items() if name in constants},
        config.warps,
        config.stages,
        registers,
        stack + local,
        binary.metadata.shared,
        {name: len(re.findall(pattern, sass)) for name, pattern in COUNTED.items()},
    )


def identity(kernel: Any, arguments: dict[str, Any], config: Config) -> tuple[Any, ...]:
    """Launches with the same one compile to the same."""
    shown = (
        (name, value.dtype if isinstance(value, torch.Tensor) else value)
        for name, value in arguments.items()
    )
    return (kernel.fn.__name__, *shown, config)


def measure(architecture: str, wanted: str = "") -> Iterator[Usage]:
    """Each different kernel of the cases whose name has `wanted` in it, once."""
    triton.runtime.driver.set_active(NoDevice(ARCHITECTURES[architecture]))
    seen = set()
    for name, case in CASES.items():
        if wanted not in name:
            continue
        for kernel, arguments, config in launches(case, architecture):
            key = identity(kernel, arguments, config)
            if key not in seen:
                seen.add(key)
                yield compiled(name, architecture, kernel, arguments, config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the table here")
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    parser.add_argument("--arch", choices=list(ARCHITECTURES), action="append")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(f"{'case':24} {'kernel':24} arch  warps regs spill shared  " + " ".join(COUNTED))
    for architecture in options.arch or ARCHITECTURES:
        for row in measure(architecture, options.case):
            rows.append(row)
            counts = " ".join(f"{row.instructions[name]:{len(name)}}" for name in COUNTED)
            print(
                f"{row.case:24} {row.kernel:24} {row.architecture} {row.warps:5} {row.registers:4}"
                f" {row.spill_bytes:5} {row.shared_bytes:6}  {counts}",
                flush=True,
            )
    if options.json:
        table = {"triton": triton.__version__, "kernels": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(table, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
