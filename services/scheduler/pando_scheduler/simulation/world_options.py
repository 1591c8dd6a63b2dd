"""How the simulated world works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pando_shared.catalogue import BaseModel
from pando_shared.policy import Policy
from pando_shared.speed import SpeedModel, assumed_speed


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """Durations in seconds.

    Plans follow each other by `plan_seconds` at least, and by `idle_seconds` at most while somebody
    waits. A job that comes to a machine begins after `join_seconds`, and after the base is loaded
    if it must be. A machine fails once in `failure_seconds` in the mean (None: never) and is back
    after `repair_seconds`; its jobs go on from checkpoints that are `checkpoint_seconds` apart.
    """

    catalogue: Mapping[str, BaseModel]
    policy: Policy = field(default_factory=Policy)
    speed: SpeedModel = field(default_factory=lambda: assumed_speed("cuda"))
    headroom: float = 0.10
    token_budget: int = 16384
    plan_seconds: float = 5.0
    idle_seconds: float = 60.0
    join_seconds: float = 5.0
    leave_seconds: float = 5.0
    checkpoint_seconds: float = 60.0
    failure_seconds: float | None = None
    repair_seconds: float = 600.0
    sample_seconds: float = 600.0
    #: How often jobs are told when they start and end (None: never), where the policy can tell.
    forecast_seconds: float | None = None
    seed: int = 0
    #: Called now and then with simulated seconds and jobs finished.
    progress: Callable[[float, int], None] | None = None
