"""Identifiers: a prefix that says what the thing is, then 96 random bits."""

import secrets


def new_id(prefix: str, separator: str = "-") -> str:
    """`new_id("ftjob")` -> `ftjob-3f9c...` (24 hexadecimal digits)."""
    return f"{prefix}{separator}{secrets.token_hex(12)}"
