"""The command line's simulations, carried out by the simulated world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pando_scheduler.simulation.arrivals import Arrival, Machine
from pando_scheduler.simulation.backend import Report
from pando_scheduler.simulation.base_models import catalogue_of
from pando_scheduler.simulation.contenders import CONTENDERS
from pando_scheduler.simulation.fitting import require_fitting
from pando_scheduler.simulation.options import Options
from pando_scheduler.simulation.run import Run
from pando_scheduler.simulation.world import simulate
from pando_scheduler.simulation.world_options import WorldOptions
from pando_shared.policy import Policy
from pando_shared.policy_file import read_policy

_GIB = 1 << 30
_FORECAST_SECONDS = 300.0


class WorldBackend:
    """Equal workers that offer all bases.

    Raises:
        InvalidRequest: a base is not known, or the policy file is wrong.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._budget_bytes = int(options.worker_gib * _GIB)
        hours = options.failures_hours
        self._world = WorldOptions(
            catalogue=catalogue_of(options.bases),
            policy=Policy() if options.policy_file is None else read_policy(options.policy_file),
            forecast_seconds=_FORECAST_SECONDS if options.forecasts else None,
            failure_seconds=None if hours is None else hours * 3600.0,
        )

    def speed_alone(self, step_tokens: float, method: str) -> float:
        return self._world.speed.alone_tokens_per_second(step_tokens, method)

    def run(
        self, arrivals: Sequence[Arrival], workers: int, policy: str, seed: int, report: Report
    ) -> Run:
        """One policy on one workload.

        Raises:
            InvalidRequest: a job fits no worker, so that the simulation would never end.
        """
        require_fitting(arrivals, self._budget_bytes, self._world)
        machines = [Machine(f"w{number}", self._budget_bytes) for number in range(workers)]
        jobs = len(arrivals)

        def progress(at: float, finished: int) -> None:
            report(at, finished, jobs)

        world = replace(self._world, seed=seed, progress=progress)
        run = simulate(arrivals, machines, CONTENDERS[policy], world)
        run.settings = {**run.settings, **self._settings(workers, seed)}
        return run

    def _settings(self, workers: int, seed: int) -> dict[str, str | float | int]:
        """What the run can be repeated with."""
        options = self._options
        settings: dict[str, str | float | int] = {
            "seed": seed,
            "workers": workers,
            "worker_gib": options.worker_gib,
            "bases": ",".join(options.bases),
            "time_noise": options.time_noise,
            "memory_noise": options.memory_noise,
        }
        if options.trace is not None:
            settings |= {
                "trace": options.trace.name,
                "week": options.week.isoformat(),
                "days": options.days,
                "thin": options.thin,
            }
        if options.synthetic is not None:
            settings |= {
                "synthetic": options.synthetic,
                "load": options.load,
                "load_workers": options.workers,
                "tenants": options.tenants,
            }
        for name, value in (
            ("longest_hours", options.longest_hours),
            ("failures_hours", options.failures_hours),
        ):
            if value is not None:
                settings[name] = value
        for name, path in (("lengths", options.lengths), ("policy_file", options.policy_file)):
            if path is not None:
                settings[name] = path.name
        return settings
