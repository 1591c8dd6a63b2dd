"""One folder that holds all of a stack on this machine: data, logs, and who runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pando_cli.errors import UsageError

DEFAULT_HOME = "~/.pando"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below a stack's home; nothing is created until somebody writes."""

    root: Path

    @classmethod
    def locate(cls, given: Path | None = None) -> Home:
        """`given` (a flag or $PANDO_HOME), else ~/.pando.

        Raises:
            UsageError: it begins with ~ and a user that there is not.
        """
        place = given or Path(DEFAULT_HOME)
        try:
            return cls(place.expanduser().resolve())
        except RuntimeError as error:
            raise UsageError(
                f"nobody knows the home directory in {str(place)!r}",
                param="home",
                hint="Name the folder with --home or PANDO_HOME, with its whole path.",
            ) from error

    @property
    def client_config(self) -> Path:
        """URL and API key of the stack, for later commands on this machine."""
        return self.root / "client.json"

    @property
    def stack_record(self) -> Path:
        """The running stack: process ids, and the environment its services have."""
        return self.root / "stack.json"

    @property
    def policy(self) -> Path:
        """By which rules jobs share the workers, if the operator has written any."""
        return self.root / "policy.toml"

    @property
    def lock(self) -> Path:
        """Held for as long as any process of the stack may be alive."""
        return self.root / "lock"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def storage(self) -> Path:
        return self.root / "storage"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def adapters(self) -> Path:
        """Where `pando demo` puts the adapters it downloads."""
        return self.root / "adapters"
