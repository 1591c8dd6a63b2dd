# ruff: noqa: N801, N802 - the fake has the names of NVML.
from __future__ import annotations

import os
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pando_cli.doctor.finding import Status
from pando_cli.doctor.gpu import (
    driver,
    gpu_state,
    memory,
    processes_below,
    torch_build,
    visible,
)
from pando_cli.doctor.gpu_facts import (
    CudaVersion,
    Gpu,
    GpuFacts,
    NoGpu,
    parse_cuda,
    read_gpus,
    torch_cuda,
)

GIB = 1 << 30
H100 = Gpu("NVIDIA H100", 80 * GIB, GIB // 2, {})
FACTS = GpuFacts("570.86", (12, 8), (H100,), hidden=False)


def test_all_well() -> None:
    found = gpu_state(FACTS, (12, 8), None)
    assert {finding.status for finding in found} == {Status.OK}
    assert driver(FACTS).found == "570.86, for CUDA up to 12.8"


def test_no_gpu_is_nothing_to_look_at() -> None:
    found = gpu_state(NoGpu("no NVIDIA GPU here"), None, None)
    assert [(f.status, f.found) for f in found] == [(Status.SKIPPED, "no NVIDIA GPU here")]


def test_a_driver_that_does_not_work() -> None:
    found = gpu_state(NoGpu("driver and library differ", broken=True), None, None)
    assert [finding.status for finding in found] == [Status.FAIL]


@pytest.mark.parametrize(
    ("built", "status"),
    [
        ((12, 8), Status.OK),
        ((11, 8), Status.OK),
        ((12, 9), Status.WARN),
        ((13, 0), Status.FAIL),
        (None, Status.FAIL),
    ],
)
def test_what_torch_was_built_with(built: CudaVersion | None, status: Status) -> None:
    assert torch_build(FACTS, built).status is status


def test_gpus_that_are_hidden() -> None:
    assert visible(FACTS).status is Status.OK
    assert visible(replace(FACTS, hidden=True)).status is Status.WARN


@pytest.mark.parametrize(
    ("used", "processes", "own", "status"),
    [
        (1, {}, None, Status.OK),
        (40, {7: 39}, frozenset({7}), Status.OK),
        (40, {7: 30, 8: 9}, frozenset({7}), Status.WARN),
        (40, {}, None, Status.WARN),
        (79, {7: 78}, None, Status.FAIL),
        (40, {8: 39}, frozenset({7}), Status.SKIPPED),
    ],
)
def test_memory(
    used: int, processes: dict[int, int], own: frozenset[int] | None, status: Status
) -> None:
    taken = {pid: size * GIB for pid, size in processes.items()}
    gpu = replace(H100, used_bytes=used * GIB, processes=taken)
    assert memory(0, gpu, own).status is status


def test_memory_that_is_not_told() -> None:
    assert memory(0, replace(H100, used_bytes=None), None).status is Status.SKIPPED


def test_who_has_the_memory_is_named() -> None:
    gpu = replace(H100, used_bytes=40 * GIB, processes={os.getpid(): 39 * GIB})
    assert f"process {os.getpid()}" in memory(0, gpu, None).found


def test_a_stacks_processes() -> None:
    assert os.getpid() in processes_below(os.getppid())
    assert processes_below(2**30) == {2**30}


class FakeNvml(ModuleType):
    """NVML with one GPU, or with an error at its start."""

    class NVMLError(Exception):
        pass

    class NVMLError_LibraryNotFound(NVMLError):
        pass

    class NVMLError_DriverNotLoaded(NVMLError):
        pass

    def __init__(self, error: type[Exception] | None = None, count: int = 1):
        super().__init__("pynvml")
        self._error, self._count = error, count
        self.open = 0
        self.secretive = False

    def nvmlInit(self) -> None:
        if self._error is not None:
            raise self._error("told by NVML")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return self._count

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return 12080

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"570.86"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        if self.secretive:
            raise self.NVMLError("no permission")
        return SimpleNamespace(total=80 * GIB, used=3 * GIB)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        unknown = SimpleNamespace(pid=8, usedGpuMemory=None)
        return [SimpleNamespace(pid=7, usedGpuMemory=2 * GIB), unknown]

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "NVIDIA H100"


def read(nvml: FakeNvml | None, monkeypatch: pytest.MonkeyPatch) -> GpuFacts | NoGpu:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return read_gpus()


def test_gpus_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    nvml = FakeNvml()
    gpu = Gpu("NVIDIA H100", 80 * GIB, 3 * GIB, {7: 2 * GIB, 8: 0})
    assert read(nvml, monkeypatch) == GpuFacts("570.86", (12, 8), (gpu,), hidden=False)
    assert nvml.open == 0


def test_a_gpu_that_does_not_tell_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is cut into parts (MIG) does to who has no rights."""
    nvml = FakeNvml()
    nvml.secretive = True
    found = read(nvml, monkeypatch)
    assert isinstance(found, GpuFacts)
    assert found.gpus == (Gpu("NVIDIA H100", 0, None, {}),)


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_variable_that_hides_them(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    found = read(FakeNvml(), monkeypatch)
    assert isinstance(found, GpuFacts)
    assert found.hidden


def test_without_the_library_that_looks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(None, monkeypatch)
    assert isinstance(found, NoGpu)
    assert "nvidia-ml-py" in found.why


@pytest.mark.parametrize(
    ("error", "broken"),
    [(FakeNvml.NVMLError_LibraryNotFound, False), (FakeNvml.NVMLError, True)],
)
def test_nvml_that_does_not_start(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], broken: bool
) -> None:
    found = read(FakeNvml(error), monkeypatch)
    assert isinstance(found, NoGpu)
    assert found.broken is broken


def test_a_driver_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(read(FakeNvml(count=0), monkeypatch), NoGpu)


def test_torchs_build_is_what_torch_says() -> None:
    import torch

    assert torch_cuda() == parse_cuda(torch.version.cuda)


@pytest.mark.parametrize(
    ("text", "cuda"), [("12.8", (12, 8)), ("13.0.1", (13, 0)), ("13", (13, 0)), (None, None)]
)
def test_a_cuda_version(text: str | None, cuda: CudaVersion | None) -> None:
    assert parse_cuda(text) == cuda


@pytest.mark.parametrize(
    ("line", "cuda"),
    [
        ("cuda: Optional[str] = '12.8'", (12, 8)),
        ("cuda = '12.8'", (12, 8)),
        ("cuda: Optional[str] = None", None),
        ("hip = '6.0'", None),
    ],
)
def test_the_file_that_says_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, line: str, cuda: CudaVersion | None
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "version.py").write_text(f"__version__ = '2.13.0'\n{line}\n")
    (tmp_path / "torch-2.13.0.dist-info").mkdir()
    (tmp_path / "torch-2.13.0.dist-info" / "METADATA").write_text("Name: torch\nVersion: 2.13.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert torch_cuda() == cuda
