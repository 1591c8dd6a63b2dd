"""What tenants have used of the cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pando_shared.forecasts import Usage


class UsageStore(Protocol):
    """The part of `Store` that knows what tenants have used."""

    def put_usage(self, usages: Iterable[Usage]) -> None:
        """Replace what these tenants have used."""
        ...

    def usage(self) -> dict[str, Usage]:
        """By tenant."""
        ...
