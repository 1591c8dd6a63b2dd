"""How long a process that keeps dying has to wait before it may try again."""

from dataclasses import dataclass, replace

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
#: Whoever has lived this long is forgiven its earlier deaths.
FORGIVEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """`deaths` in a row, the last of them followed by a wait of `seconds`."""

    deaths: int = 0

    @property
    def seconds(self) -> float:
        if self.deaths == 0:
            return 0.0
        # The exponent is bounded, because a float is.
        return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self.deaths - 1, 10))

    def after_death(self, lived_seconds: float) -> "Backoff":
        forgiven = lived_seconds >= FORGIVEN_SECONDS
        return replace(self, deaths=1 if forgiven else self.deaths + 1)
