"""What all MEFT jobs of one GPU share: buffers that rows pass through, streams, and threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from pando_kernels.meft.buffers import SideStream, make_buffers

#: Buffers of rows, of which two are for rows sent ahead; and of gradients, which two at a time are
#: filled while those before go to the host.
_READS, _WRITES = 4, 4


class Staging:
    """What all MEFT jobs of one device share: buffers, side streams and threads that update."""

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        buffer_numbers: int,
        cache_bytes: int,
        threads: int = 1,
    ):
        """A buffer holds `buffer_numbers` numbers, or one expert if that is more. A job may keep
        `cache_bytes` of rows on the device. `threads` update rows."""
        self.device, self.dtype = device, dtype
        self.cache_bytes = cache_bytes
        self.inward, self.outward = SideStream(device), SideStream(device)
        self.updates = ThreadPoolExecutor(
            threads, "meft-update", initializer=torch.set_num_threads, initargs=(1,)
        )
        self._numbers = buffer_numbers
        self.reads = make_buffers(_READS, 0, dtype, device)
        self.writes = make_buffers(_WRITES, 0, torch.float32, device)

    @property
    def pinned(self) -> bool:
        """Whether the host's side must be pinned."""
        return self.device.type == "cuda"

    def blocks(self, expert_numbers: int) -> int:
        """Experts that a buffer holds, of so many numbers each."""
        return max(1, self._numbers // expert_numbers)

    def make_room(self, numbers: int) -> None:
        """Have buffers of at least so many numbers: `reads` for rows, `writes` for gradients."""
        if self.reads.all[0].numbers.numel() < numbers:
            self.reads = make_buffers(_READS, numbers, self.dtype, self.device)
            self.writes = make_buffers(_WRITES, numbers, torch.float32, self.device)
