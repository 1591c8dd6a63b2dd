"""What the byte model says of a whole worker, put together from its parts."""

from __future__ import annotations

from collections.abc import Sequence

from pando_shared.adapters import AdapterConfig
from pando_shared.base_format import BaseFormat
from pando_shared.base_shape import BaseShape
from pando_shared.footprint import Footprint
from pando_shared.memory import footprint, host_bytes, step_model
from pando_shared.recompute import Recompute


def predict_peak_bytes(
    base: BaseShape,
    adapters: Sequence[AdapterConfig],
    token_budget: int,
    held: BaseFormat,
    device: str,
    resident: int,
    recompute: Recompute = Recompute.NOTHING,
) -> int:
    """Peak bytes of the device of a worker that trains these adapters together.

    `resident` is what it holds with the base loaded, predicted or measured.
    """
    taken = sum((footprint(base, a, held, device) for a in adapters), Footprint())
    step = step_model(base, held, device).bytes(taken, token_budget, recompute)
    return resident + taken.device_bytes + step


def predict_host_bytes(
    base: BaseShape,
    adapters: Sequence[AdapterConfig],
    held: BaseFormat,
    device: str,
    rows_on_disk: bool = False,
) -> int:
    """Peak bytes of the host of a worker that trains these adapters together.

    `rows_on_disk`: values and moments of MEFT's rows are mapped from a disk.
    """
    taken = (footprint(base, a, held, device, rows_on_disk) for a in adapters)
    return host_bytes(sum(taken, Footprint()), device != "cpu")
