"""What processes that are no more had counted, and the sum of it and of what another counts."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric

#: The rest (gauges, facts) is of a process, and ends with it.
_ADD_UP = ("counter", "histogram", "summary")


class Totals:
    """Counters and histograms, by name and labels."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def add(self, families: Iterable[Metric]) -> None:
        """The last that a process told."""
        for family in families:
            if family.type in _ADD_UP:
                known = self._families.get(family.name)
                self._families[family.name] = family if known is None else _sum(known, family)

    def with_those_of(self, families: Iterable[Metric]) -> list[Metric]:
        """What a process that lives tells, continued from where the others ended."""
        together = dict(self._families)
        for family in families:
            known = together.get(family.name)
            together[family.name] = family if known is None else _sum(known, family)
        return list(together.values())


def _sum(one: Metric, other: Metric) -> Metric:
    """A family of both's samples; those of the same name and labels are added up."""
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for sample in (*one.samples, *other.samples):
        key = sample.name, tuple(sample.labels.items())
        values[key] = values.get(key, 0.0) + sample.value
    made = Metric(other.name, other.documentation, other.type)
    for (name, labels), value in values.items():
        made.add_sample(name, dict(labels), value)
    return made
