"""How fast jobs train together on one base and one kind of device, learnt from rounds.

    T(S) = max(T_floor, c · Σ tokens) · (1 + h (n - 1))

c is what a token costs, by method, on a worker that is kept busy; T_floor what even a small step
takes. A CPU runs jobs side by side, so one alone keeps only a share of it busy, whatever its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pando_shared.codec import decoded_or
from pando_shared.prediction_errors import PredictionErrors

#: By how much each parameter may be off before anything was seen: standard deviations of logarithms
#: of speed, floor, share alone, interference, and the costs of PaCA and MEFT beside LoRA.
PRIOR_DEVIATIONS = (1.5, 0.5, 0.5, 1.0, 0.3, 0.5)
_PARAMETERS = len(PRIOR_DEVIATIONS)


def _prior_covariance() -> tuple[float, ...]:
    return tuple(
        deviation**2 if i == j else 0.0
        for i, deviation in enumerate(PRIOR_DEVIATIONS)
        for j in range(_PARAMETERS)
    )


@dataclass(frozen=True, slots=True)
class SpeedModel:
    """`tokens_per_second` is that of LoRA jobs that keep the worker busy. `floor_seconds` is what a
    small step takes. `alone_share` is what one job keeps busy at most. With n jobs everything takes
    1 + `interference` (n - 1) times as long. `paca_cost` and `meft_cost` are what a token costs
    beside one of LoRA.
    """

    tokens_per_second: float
    floor_seconds: float
    alone_share: float = 1.0
    interference: float = 0.01
    paca_cost: float = 1.0
    meft_cost: float = 1.0
    #: How sure the logarithms of the six are, row after row.
    covariance: tuple[float, ...] = field(default_factory=_prior_covariance)
    #: Observed over predicted tokens a second, less one.
    errors: PredictionErrors = field(default_factory=PredictionErrors)

    def cost(self, method: str) -> float:
        return {"paca": self.paca_cost, "meft": self.meft_cost}.get(method, 1.0)

    def alone_seconds(self, step_tokens: float, method: str) -> float:
        """Of one step of a job that has the worker to itself."""
        busy = step_tokens * self.cost(method) / self.tokens_per_second
        return max(self.floor_seconds, busy / self.alone_share)

    def alone_tokens_per_second(self, step_tokens: float, method: str) -> float:
        return step_tokens / self.alone_seconds(step_tokens, method)

    def demand(self, step_tokens: float, method: str) -> float:
        """The share of the worker that the job alone keeps busy, in (0, 1]."""
        busy = step_tokens * self.cost(method) / self.tokens_per_second
        return min(1.0, max(busy / self.alone_seconds(step_tokens, method), 1e-6))

    def slowdown(self, total_demand: float, count: int) -> float:
        """How many times longer `count` jobs' steps take together than alone."""
        return max(1.0, total_demand) * (1.0 + self.interference * max(0, count - 1))


def assumed_speed(device: str) -> SpeedModel:
    """What is taken for true before the first round. A CPU trains 2,000 tokens a second, and a job
    alone keeps 0.4 of it busy, whatever its size: its floor is too low to matter. A GPU trains
    20,000, and a job of 8,192 tokens a step just keeps it busy."""
    if device == "cpu":
        return SpeedModel(tokens_per_second=2_000.0, floor_seconds=0.001, alone_share=0.4)
    return SpeedModel(tokens_per_second=20_000.0, floor_seconds=8192 / 20_000.0)


def speed_key(base_model: str, device_kind: str) -> str:
    """Where the store keeps it."""
    return f"speed|{base_model}|{device_kind}"


def read_speed(learnt: Mapping[str, str], base_model: str, device_kind: str) -> SpeedModel:
    """Of all that was learnt (`Store.learnt`) what concerns one base on one kind of device.

    What another version wrote in a form that is not understood is learnt anew.
    """
    assumed = assumed_speed("cpu" if device_kind == "cpu" else "gpu")
    return decoded_or(SpeedModel, learnt.get(speed_key(base_model, device_kind)), default=assumed)
