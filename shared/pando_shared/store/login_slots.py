"""Where failed logins of an address are counted: one of so many places, whatever comes."""

from __future__ import annotations

import hashlib

#: Whoever has many addresses cannot fill the store. Addresses that meet in one place share its
#: count, which costs nobody who has a good key.
LOGIN_SLOTS = 1 << 16


def login_slot(address: str) -> int:
    """The same in every process, and not to be steered by a choice of addresses cheaply."""
    digest = hashlib.sha256(address.encode()).digest()
    return int.from_bytes(digest[:8], "big") % LOGIN_SLOTS
