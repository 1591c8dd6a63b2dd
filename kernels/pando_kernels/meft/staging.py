"""What all MEFT jobs of one GPU share: buffers that rows pass through, streams, and threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from pando_kernels.meft.buffers import SideStream, make_buffers


class Staging:
    """What all MEFT jobs of one device share: buffers, side streams and threads that update."""

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        buffer_numbers: int,
        cache_bytes: int,
        threads: int = 1,
        buffers: int = 4,
    ):
        """A buffer holds `buffer_numbers` numbers, or one expert if that is more. A job may keep
        `cache_bytes` of rows on the device. `threads` update rows. There are so many `buffers` of
        rows, of which all but two are for rows sent ahead, and as many of gradients, of which two
        are filled while others are on their way; four at least."""
        self.device, self.dtype = device, dtype
        self.cache_bytes = cache_bytes
        self.inward, self.outward = SideStream(device), SideStream(device)
        self.updates = ThreadPoolExecutor(
            threads, "meft-update", initializer=torch.set_num_threads, initargs=(1,)
        )
        self._numbers = buffer_numbers
        self._buffers = buffers
        self.reads = make_buffers(buffers, 0, dtype, device)
        self.writes = make_buffers(buffers, 0, torch.float32, device)

    @property
    def pinned(self) -> bool:
        """Whether the host's side must be pinned."""
        return self.device.type == "cuda"

    def blocks(self, expert_numbers: int) -> int:
        """Experts that a buffer holds, of so many numbers each."""
        return max(1, self._numbers // expert_numbers)

    def make_room(self, reads: int, writes: int) -> None:
        """Have buffers of at least so many numbers: `reads` for rows, `writes` for gradients."""
        if self.reads.numbers >= reads and self.writes.numbers >= writes:
            return
        self.synchronize()  # nobody reads the old ones any more, which go first
        reads, writes = max(reads, self.reads.numbers), max(writes, self.writes.numbers)
        self.free()
        self.reads = make_buffers(self._buffers, reads, self.dtype, self.device)
        self.writes = make_buffers(self._buffers, writes, torch.float32, self.device)

    def free(self) -> None:
        """Give the buffers' memory back; no job may have rows on their way."""
        self.synchronize()
        self.reads = make_buffers(self._buffers, 0, self.dtype, self.device)
        self.writes = make_buffers(self._buffers, 0, torch.float32, self.device)

    def synchronize(self) -> float:
        """Wait for all copies; returns the seconds that they took since the last time."""
        return self.outward.synchronize() + self.inward.synchronize()
