"""What the simulated scheduler learns of memory from the rounds it sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pando_scheduler.learnt import LearntPredictor
from pando_shared.calibration import FEWEST_OBSERVATIONS, UNLEARNT, Calibration
from pando_shared.speed import SpeedModel

#: Predictions change when so many more jobs have been measured.
_STRIDE = 256
_KEPT = 256


class Learning:
    """How much jobs' own bytes differ from the byte model's, by base and kind of device."""

    def __init__(
        self, predict: LearntPredictor, speeds: Mapping[tuple[str, str], SpeedModel]
    ) -> None:
        self._predict, self._speeds = predict, speeds
        self._logs: dict[tuple[str, str], list[float]] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._calibrations: dict[tuple[str, str], Calibration] = {}

    def observe(self, base_model: str, device_kind: str, ratio: float) -> None:
        """A job was measured to take so many times what was predicted."""
        key = (base_model, device_kind)
        logs = self._logs.setdefault(key, [])
        logs.append(math.log(ratio))
        del logs[:-_KEPT]
        self._seen[key] = seen = self._seen.get(key, 0) + 1
        if seen == FEWEST_OBSERVATIONS or seen % _STRIDE == 0:
            sigma = math.sqrt(sum(value * value for value in logs) / len(logs))
            before = self._calibrations.get(key, UNLEARNT)
            self._calibrations[key] = replace(before, sigma=round(sigma, 3))
            self._predict.learn(self._calibrations, self._speeds)
