"""Reading a service's settings, or saying in a sentence each what is wrong with them."""

from __future__ import annotations

from pydantic import ValidationError

from pando_shared.settings import Settings


def read_settings() -> Settings:
    """The settings in the environment.

    Raises:
        SystemExit: some cannot be; its message names each variable, and says why.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SystemExit("\n".join(_problems(error))) from None


def _problems(error: ValidationError) -> list[str]:
    """A line for each variable; the values are left out, for some hold passwords."""
    problems: dict[str, str] = {}
    for each in error.errors(include_url=False, include_input=False):
        # Of several ways in which one cannot be, the first says enough.
        name = f"PANDO_{each['loc'][0]}".upper()
        problems.setdefault(name, f"{name}: {each['msg'].removeprefix('Value error, ')}")
    return list(problems.values())
