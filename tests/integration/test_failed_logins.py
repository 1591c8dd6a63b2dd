"""Wrong keys are counted over two API processes together, by the address that a trusted proxy tells
and by no other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from api_server import serving

Guess = Callable[[int, str], int]


def guesses(stack: ExitStack, redis_url: str, folder: Path, **environment: str) -> Guess:
    """Sends a wrong key to the first or the second process; returns the answer's status."""
    wanted = {"PANDO_FAILED_LOGINS_PER_MINUTE": "4", **environment}
    servers = [
        stack.enter_context(serving(redis_url, f"file://{folder}/storage", **wanted))
        for _ in range(2)
    ]

    def guess(number: int, told: str) -> int:
        headers = {"Authorization": "Bearer sk-pando-wrong", "X-Forwarded-For": told}
        return httpx.get(f"{servers[number].url}/v1/models", headers=headers).status_code

    return guess


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"])
def test_nobody_makes_up_addresses(redis_url: str, tmp_path: Path, trusted: str) -> None:
    with ExitStack() as stack:
        guess = guesses(stack, redis_url, tmp_path, PANDO_TRUSTED_PROXIES=trusted)
        answers = [guess(number % 2, f"192.0.2.{number}") for number in range(6)]
    assert answers == [401] * 4 + [429] * 2


def test_a_trusted_proxys_word_counts(redis_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        guess = guesses(stack, redis_url, tmp_path, PANDO_TRUSTED_PROXIES="127.0.0.0/8")
        assert [guess(number % 2, "192.0.2.1") for number in range(5)] == [401] * 4 + [429]
        # What the client itself wrote before the proxy's word makes it nobody else.
        assert guess(0, "192.0.2.77, 192.0.2.1") == 429
        assert guess(1, "192.0.2.2") == 401
