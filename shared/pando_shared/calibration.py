"""What was learnt of memory on one base and one kind of device: how far the byte model is off.

M = resident (measured) + Σ a_method · own bytes + b · step bytes
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.codec import decoded_or
from pando_shared.prediction_errors import PredictionErrors
from pando_shared.ridge import Ridge, unseen

#: With fewer observations head-room does not fall, and nobody knows how much jobs differ.
FEWEST_OBSERVATIONS = 20
LEAST_HEADROOM, MOST_HEADROOM = 0.02, 1.0
#: Of a normal deviation, what one in 100,000 exceeds: a job that nobody has measured runs beside
#: others who would all suffer.
_SIGMAS = 4.3
#: How far a job's own bytes are taken to be from what is predicted, at most, either way.
LEAST_RATIO, MOST_RATIO = 0.25, 4.0
#: How much more a job is taken to need each time that memory ran out on it alone.
_OUT_OF_MEMORY_SCALE = 1.25


@dataclass(frozen=True, slots=True)
class Calibration:
    """Factors of the byte model's terms, 1 until something is observed, and how good they are.

    `lora`, `paca` and `meft` scale what an adapter holds, `step` all that a training step takes.
    """

    lora: float = 1.0
    paca: float = 1.0
    meft: float = 1.0
    step: float = 1.0
    fit: Ridge = field(default_factory=lambda: unseen(4))
    errors: PredictionErrors = field(default_factory=PredictionErrors)
    #: Standard deviation of the logarithm of measured over predicted bytes of one job's own.
    sigma: float = 0.0
    #: What sigma is taken from, oldest first, and the jobs that were counted.
    deviations: tuple[float, ...] = ()
    counted: tuple[str, ...] = ()
    #: Whether a worker's probe has been used.
    probed: bool = False

    def factor(self, adapter: AdapterConfig) -> float:
        """Measured over predicted bytes of an adapter's own."""
        match adapter:
            case LoraConfig():
                return self.lora
            case PacaConfig():
                return self.paca
            case MeftConfig():
                return self.meft

    def headroom(self, start: float) -> float:
        """The share of a prediction that admission keeps free on top of it.

        It is `start` until something is known, then what 99 % of the rounds stayed within.
        """
        beyond = self.errors.p99_beyond
        if beyond is None:
            return start
        if len(self.errors.recent) < FEWEST_OBSERVATIONS:
            beyond = max(start, beyond)
        return min(max(beyond, LEAST_HEADROOM), MOST_HEADROOM)

    @property
    def margin(self) -> float:
        """What a job that was never measured may take beyond its prediction, as a share of it."""
        return min(math.exp(_SIGMAS * self.sigma), MOST_RATIO) - 1.0


UNLEARNT = Calibration()


def own_scale(memory_ratio: float | None, out_of_memory: int) -> float:
    """What a job's own bytes are multiplied by, for what is known of it alone: how much it was
    measured to take, and how often memory ran out on it."""
    measured = 1.0 if memory_ratio is None else memory_ratio
    return measured * float(_OUT_OF_MEMORY_SCALE**out_of_memory)


def calibration_key(base_model: str, device_kind: str) -> str:
    """Where the store keeps it."""
    return f"memory|{base_model}|{device_kind}"


def read_calibration(learnt: Mapping[str, str], base_model: str, device_kind: str) -> Calibration:
    """Of all that was learnt (`Store.learnt`) what concerns one base on one kind of device.

    What another version wrote in a form that is not understood is learnt anew.
    """
    return decoded_or(
        Calibration, learnt.get(calibration_key(base_model, device_kind)), default=UNLEARNT
    )
