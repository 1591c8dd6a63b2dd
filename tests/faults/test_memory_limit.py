"""A process under a limit of the system's, as `ulimit -v` and some containers set one."""

from __future__ import annotations

import subprocess
import sys

_LIMITED = """
import resource
import torch
from pando_worker.engine.device import is_out_of_memory, used_bytes

pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    torch.empty(1 << 28)
except Exception as error:
    print(type(error).__name__, is_out_of_memory(error))
try:
    torch.empty(3) @ torch.empty(4)
except Exception as error:
    print(type(error).__name__, is_out_of_memory(error))
"""


def test_what_torch_raises_is_known_for_what_it_is() -> None:
    """The round then tries smaller microbatches, and does not fail again and again."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["RuntimeError True", "RuntimeError False"]
