"""What may stand in a log: no secrets, and no characters that would make one line look like two."""

from __future__ import annotations

import re

_HIDDEN = "***"

_SECRETS = (
    # A URL's password: all up to the last @ of its authority, as redis-py reads it.
    (re.compile(r"(://[^\s/?#:@]*:)[^\s/?#]*@"), rf"\1{_HIDDEN}@"),
    # Headers as text and as Python shows them.
    (
        re.compile(
            r"(\bauthorization\b[\"']?\s*[:=,]\s*(?:b?[\"'])?(?:(?:bearer|basic|digest|token)\s+)?)"
            r"[^\s\"',)]+",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(\bbearer\s+)[^\s\"',)]+", re.IGNORECASE), rf"\1{_HIDDEN}"),
    # Pando's keys and others of OpenAI's form; Hugging Face's tokens.
    (re.compile(r"\b(sk-(?:pando-)?)[A-Za-z0-9_-]{8,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"\b(hf_)[A-Za-z0-9]{16,}"), rf"\1{_HIDDEN}"),
    # Assignments, in queries, JSON, keyword arguments and environments.
    (
        re.compile(
            r"((?:password|passwd|secret(?:_?access)?(?:_?key)?|api[_-]?key|hf_token)"
            r"[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&)]+",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
)

#: Control characters, what else ends a line, what turns the direction of text, lone surrogates.
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def redact(text: str) -> str:
    """`text` without API keys, passwords in URLs and Authorization headers."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def on_one_line(text: str) -> str:
    r"""`text` with control characters as Python writes them: a line break becomes `\n`."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
