"""Secrets do not reach a log, and what users write stays on its line."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pando_shared.api_keys import new_api_key
from pando_shared.log_text import on_one_line, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:hunter2@redis:6379/0", "redis://:***@redis:6379/0"),
        ("rediss://me:hunter2@redis:6379", "rediss://me:***@redis:6379"),
        ("redis://:hun@ter2@redis:6379/0", "redis://:***@redis:6379/0"),
        ("'redis://:hun\"ter2'@redis'", "'redis://:***@redis'"),
        ("redis://redis:6379/0?password=hunter2&db=1", "redis://redis:6379/0?password=***&db=1"),
        ("a redis://:x@a/0 and redis://:y@b/0", "a redis://:***@a/0 and redis://:***@b/0"),
        ("s3://id:hunter2@bucket/key", "s3://id:***@bucket/key"),
        ("Authorization: Bearer hunter2", "Authorization: Bearer ***"),
        ("authorization: hunter2", "authorization: ***"),
        ("{'authorization': 'Basic aHVudGVyMg=='}", "{'authorization': 'Basic ***'}"),
        ("(b'authorization', b'Bearer hunter2')", "(b'authorization', b'Bearer ***')"),
        ("sent bearer hunter2", "sent bearer ***"),
        ("key sk-hunter2hunter2", "key sk-***"),
        ("hf_hunter2hunter2hunter2", "hf_***"),
        ("AWS_SECRET_ACCESS_KEY=hunter2", "AWS_SECRET_ACCESS_KEY=***"),
        ('{"api_key": "hunter2", "n": 1}', '{"api_key": "***", "n": 1}'),
    ],
)
def test_secrets_are_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_key_that_pando_made_is_hidden() -> None:
    for _ in range(20):
        secret, _key = new_api_key("acme", "test", 0.0)
        assert redact(f"key={secret}, tenant=acme") == "key=sk-pando-***, tenant=acme"


@pytest.mark.parametrize(
    "text",
    [
        "redis://redis:6379/0",
        "Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
        "prepare-host-17@host: 1,234 tokens, time 09:12:31",
        "job ftjob-3f9c0e71d2a84b5c9e6f1a20 has sk-learn",
        "mail me@example.com",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "://" * 100_000,
        "://a:" + "b" * 300_000,
        "authorization " * 20_000,
        "bearer" + " " * 300_000,
        "password" * 30_000,
        "sk-" * 100_000,
    ],
)
def test_hiding_takes_time_in_proportion_to_the_text(text: str) -> None:
    began = time.perf_counter()
    redact(text)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", r"a\r\nb"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\x00\x7f\x85b", r"a\x00\x7f\x85b"),
        ("a\u2028b\u202eb", r"a\u2028b\u202eb"),
        ("\ud800", r"\ud800"),
        ("naïve 数据 🙂", "naïve 数据 🙂"),
    ],
)
def test_what_is_no_plain_text_is_spelt_out(text: str, shown: str) -> None:
    assert on_one_line(text) == shown


@given(st.text(st.characters()))
def test_any_text_is_one_line_that_a_log_can_hold(text: str) -> None:
    shown = on_one_line(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
