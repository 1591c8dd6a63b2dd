"""The repository this command was installed from, where it was installed in place."""

from pathlib import Path


def path(*parts: str) -> Path | None:
    """A file or folder of the checkout; None if this is not one, or it has no such thing."""
    found = Path(__file__).resolve().parents[2].joinpath(*parts)
    return found if found.exists() else None
