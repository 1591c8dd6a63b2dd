"""Whether workers can use the GPUs, and who else does."""

from __future__ import annotations

from collections.abc import Set

import psutil

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn
from pando_cli.doctor.gpu_facts import CudaVersion, Gpu, GpuFacts, NoGpu
from pando_cli.rendering import human_bytes

#: Shares of a GPU's memory that others have. The driver itself takes a little.
WARN_TAKEN, FAIL_TAKEN = 0.05, 0.90
_DRIVER, _TORCH, _VISIBLE, _MEMORY = "GPU driver", "torch for GPUs", "GPUs", "GPU memory"


def gpu_state(
    facts: GpuFacts | NoGpu, torch: CudaVersion | None, own: Set[int] | None
) -> list[Finding]:
    """`torch`: the CUDA that it was built with. `own`: process ids of the stack that runs here;
    None: none does."""
    if isinstance(facts, NoGpu):
        if not facts.broken:
            return [skipped(_DRIVER, facts.why)]
        return [
            fail(
                _DRIVER,
                facts.why,
                "Restart the machine if the driver was updated; else install it anew, until "
                "`nvidia-smi` lists the GPUs. In a container, start it with --gpus all.",
            )
        ]
    found = [driver(facts), visible(facts), torch_build(facts, torch)]
    return found + [memory(index, gpu, own) for index, gpu in enumerate(facts.gpus)]


def driver(facts: GpuFacts) -> Finding:
    return ok(_DRIVER, f"{facts.driver}, for CUDA up to {_dotted(facts.cuda)}")


def visible(facts: GpuFacts) -> Finding:
    names = ", ".join(gpu.name for gpu in facts.gpus)
    if facts.hidden:
        return warn(
            _VISIBLE,
            f"CUDA_VISIBLE_DEVICES hides all of them ({names}); workers would train on the CPU",
            "`unset CUDA_VISIBLE_DEVICES`, or list those that workers may use.",
        )
    return ok(_VISIBLE, f"{len(facts.gpus)}: {names}")


def torch_build(facts: GpuFacts, built: CudaVersion | None) -> Finding:
    """Within one major number, a driver runs what was built with a newer minor one, mostly."""
    supported = _dotted(facts.cuda)
    if built is None:
        return fail(
            _TORCH,
            "torch is not installed, or built for CPUs, and here are GPUs",
            "Install a build with CUDA (`make setup TORCH=cuda`).",
        )
    mend = f"Update the NVIDIA driver, or install a torch built with CUDA {supported} or older."
    found = f"built with CUDA {_dotted(built)}"
    if built[0] > facts.cuda[0]:
        return fail(_TORCH, f"{found}, but the driver supports {supported} at most", mend)
    if built > facts.cuda:
        return warn(_TORCH, f"{found}, newer than the driver's {supported}", mend)
    return ok(_TORCH, found)


def memory(index: int, gpu: Gpu, own: Set[int] | None) -> Finding:
    name = f"{_MEMORY} {index}"
    if gpu.used_bytes is None:
        return skipped(name, f"NVML does not tell that of {gpu.name}")
    others = {pid: used for pid, used in gpu.processes.items() if pid not in (own or ())}
    if own and gpu.processes and len(others) == len(gpu.processes):
        return skipped(name, "the stack's own part cannot be told from others' (a container?)")
    taken = gpu.used_bytes - sum(gpu.processes.values()) + sum(others.values())
    share = taken / gpu.total_bytes if gpu.total_bytes else 0.0
    found = f"others have {human_bytes(taken)} of {human_bytes(gpu.total_bytes)}"
    if share < WARN_TAKEN:
        return ok(name, f"{human_bytes(gpu.total_bytes)}, nobody else uses it")
    who = ", ".join(_process(pid) for pid in sorted(others)) or "processes that are not shown"
    mend = "End them, or let workers keep to less with PANDO_MEMORY_BYTES."
    text = f"{found}: {who}"
    return fail(name, text, mend) if share >= FAIL_TAKEN else warn(name, text, mend)


def processes_below(pid: int) -> frozenset[int]:
    """A process and all that it, or they, have started."""
    try:
        process = psutil.Process(pid)
        return frozenset({pid, *(child.pid for child in process.children(recursive=True))})
    except psutil.Error:
        return frozenset({pid})


def _process(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return f"process {pid}"


def _dotted(cuda: CudaVersion) -> str:
    return f"{cuda[0]}.{cuda[1]}"
