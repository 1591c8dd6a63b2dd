"""The jobs of one seed, as the command line asks for them."""

from __future__ import annotations

from pando_scheduler.simulation.arrivals import Arrival
from pando_scheduler.simulation.lengths import LengthMix, conversations, read_lengths
from pando_scheduler.simulation.options import Options
from pando_scheduler.simulation.philly import philly_arrivals
from pando_scheduler.simulation.synthetic import synthetic_arrivals
from pando_scheduler.simulation.traits import SpeedAlone

_LONGEST_OF_A_TRACE_HOURS = 24.0
_LONGEST_MADE_UP_HOURS = 168.0


def length_mix(options: Options) -> LengthMix:
    return conversations() if options.lengths is None else read_lengths(options.lengths)


def workload(
    options: Options, seed: int, lengths: LengthMix, speed_alone: SpeedAlone
) -> list[Arrival]:
    """The arrivals, by time.

    Raises:
        InvalidRequest: the trace is not understood, or no job was submitted in its days.
    """
    if options.trace is not None:
        return philly_arrivals(
            options.trace,
            week=options.week,
            days=options.days,
            thin=options.thin,
            seed=seed,
            bases=options.bases,
            lengths=lengths,
            speed_alone=speed_alone,
            longest_hours=options.longest_hours or _LONGEST_OF_A_TRACE_HOURS,
            time_sigma=options.time_noise,
            memory_sigma=options.memory_noise,
        )
    return list(
        synthetic_arrivals(
            options.synthetic or 0,
            workers=options.workers,
            load=options.load,
            seed=seed,
            bases=options.bases,
            lengths=lengths,
            speed_alone=speed_alone,
            tenants=options.tenants,
            longest_hours=options.longest_hours or _LONGEST_MADE_UP_HOURS,
            time_sigma=options.time_noise,
            memory_sigma=options.memory_noise,
        )
    )
