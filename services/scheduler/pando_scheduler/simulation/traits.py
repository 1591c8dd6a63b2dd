"""What no trace tells of a job: its base, adapter, batch, sequence lengths, class and errors.

They are drawn from a seed, by shares chosen to resemble a shared fine-tuning service; no figure
here was measured on one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.lengths import LengthMix
from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.errors import InvalidRequest
from pando_shared.jobs import Priority

#: Tokens a second of a job alone on a worker, by the tokens of its step and its method.
SpeedAlone = Callable[[float, str], float]

#: How often a tenant's job trains its favourite base; the other bases share the rest equally.
_FAVOURITE_SHARE = 0.8
_RANKS = ((8, 0.25), (16, 0.40), (32, 0.20), (64, 0.15))
_KEYS = ((1024, 0.40), (2048, 0.30), (4096, 0.20), (8192, 0.10))
_ADAPTERS: tuple[tuple[AdapterConfig, float], ...] = (
    *((LoraConfig(rank=rank), 0.60 * share) for rank, share in _RANKS),
    *((PacaConfig(rank=rank), 0.25 * share) for rank, share in _RANKS),
    *((MeftConfig(num_keys=keys), 0.15 * share) for keys, share in _KEYS),
)
_ADAPTER_BOUNDS = tuple(accumulate(share for _, share in _ADAPTERS))
_BATCH_SIZES = (1, 2, 4, 8)
_HIGH_SHARE = 0.05
_LOW_SHARE = 0.15


class Traits:
    """Draws the traits of jobs. A tenant's favourite base is the seed's choice.

    `time_sigma` and `memory_sigma` spread the errors, e^N(0, sigma).

    Raises:
        InvalidRequest: there is no base, or a sigma is negative or not finite.
    """

    def __init__(
        self,
        seed: int,
        bases: Sequence[str],
        lengths: LengthMix,
        speed_alone: SpeedAlone,
        time_sigma: float,
        memory_sigma: float,
    ) -> None:
        if not bases:
            raise InvalidRequest("name at least one base model", param="bases")
        for name, sigma in (("time_sigma", time_sigma), ("memory_sigma", memory_sigma)):
            if not 0 <= sigma < math.inf:
                raise InvalidRequest(f"{name} must be 0 or more, got {sigma}", param=name)
        self._seed, self._bases, self._lengths = seed, tuple(bases), lengths
        self._speed_alone = speed_alone
        self._time_sigma, self._memory_sigma = time_sigma, memory_sigma
        self._favourites: dict[str, int] = {}

    def arrival(
        self, random: Random, job_id: str, tenant: str, at: float, seconds: float
    ) -> Arrival:
        """A job that takes `seconds` alone on a worker. Takes the same count of numbers from
        `random` whatever the sigmas."""
        uniform, normal = random.random, random.gauss
        adapter = _ADAPTERS[bisect_right(_ADAPTER_BOUNDS, uniform(), hi=len(_ADAPTERS) - 1)][0]
        mean_length = self._lengths.draw(random)
        step_tokens = _BATCH_SIZES[int(uniform() * len(_BATCH_SIZES))] * mean_length
        return Arrival(
            job_id,
            tenant,
            at,
            self._base(random, tenant),
            adapter,
            seconds * self._speed_alone(step_tokens, adapter.type),
            step_tokens,
            mean_length,
            _priority(uniform()),
            math.exp(self._time_sigma * normal(0.0, 1.0)),
            math.exp(self._memory_sigma * normal(0.0, 1.0)),
        )

    def _base(self, random: Random, tenant: str) -> str:
        favourite = self._favourites.get(tenant)
        if favourite is None:
            favourite = Random(f"{self._seed}:{tenant}").randrange(len(self._bases))
            self._favourites[tenant] = favourite
        share, others = random.random(), len(self._bases) - 1
        if share < _FAVOURITE_SHARE or not others:
            return self._bases[favourite]
        other = int((share - _FAVOURITE_SHARE) / (1 - _FAVOURITE_SHARE) * others)
        return self._bases[(favourite + 1 + min(other, others - 1)) % len(self._bases)]


def _priority(share: float) -> Priority:
    if share < _HIGH_SHARE:
        return Priority.HIGH
    return Priority.LOW if share < _HIGH_SHARE + _LOW_SHARE else Priority.NORMAL
