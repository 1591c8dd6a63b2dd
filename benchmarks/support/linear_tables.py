"""The rows of measured linear layers as two tables."""

from __future__ import annotations

from dataclasses import dataclass

from linear_peers import PEERS
from linear_problem import Case
from reporting import table

#: Operations that are compared with the frozen layer both ways, and their heads in the table.
WHOLE = {
    "LoRA both": "LoRA",
    "PaCA both": "PaCA",
    "loop": "loop",
    "job by job": "by job",
    "peft": "peft",
    "LoRAFusion": "fusion",
}
#: Operations that are compared with the frozen product one way.
ONE_WAY = {
    "gemm, expand": ("frozen forward", "g, e"),
    "gemm+expand": ("frozen forward", "g+e"),
    "[X|S] forward": ("frozen forward", "[X|S]"),
    "[dY|dS] dX": ("frozen dX", "[dY|dS]"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One operation on one case. Shares are of the floors, 1 at best; None where there is none."""

    case: Case
    operation: str
    seconds: float | None
    host_seconds: float | None = None
    byte_share: float | None = None
    flop_share: float | None = None
    failure: str | None = None


def operations_table(rows: list[Row]) -> str:
    """Times and shares of the floors of single operations, for the cases that matter most."""
    first = rows[0].case
    chosen = [
        row
        for row in rows
        if row.operation not in (*WHOLE, *PEERS)
        and (row.case.tokens, row.case.jobs, row.case.rank)
        == (first.tokens, first.jobs, first.rank)
    ]
    return table(
        ("operation", "ms", "% of bytes", "% of FLOPs", "start ms"),
        (
            (
                f"{row.case.title} {row.operation}",
                _scaled(row.seconds, 1e3),
                _scaled(row.byte_share, 100),
                _scaled(row.flop_share, 100),
                _scaled(row.host_seconds, 1e3),
            )
            for row in chosen
        ),
    )


def layers_table(rows: list[Row]) -> str:
    """Time beyond that of the frozen layer, in % of it; of the larger rank, the first cases."""
    found = {(row.case, row.operation): row.seconds for row in rows}

    def beyond(case: Case, name: str, base: str) -> float | None:
        own, frozen = found.get((case, name)), found.get((case, base))
        return None if own is None or frozen is None else 100 * (own / frozen - 1)

    first = rows[0].case
    return table(
        ("% beyond frozen", "frozen ms", *WHOLE.values(), *(head for _, head in ONE_WAY.values())),
        (
            (
                case.title,
                _scaled(found.get((case, "frozen both")), 1e3),
                *(beyond(case, name, "frozen both") for name in WHOLE),
                *(beyond(case, name, base) for name, (base, _) in ONE_WAY.items()),
            )
            for case in dict.fromkeys(row.case for row in rows)
            if case.rank == first.rank or case.tokens == first.tokens
        ),
    )


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value * by
