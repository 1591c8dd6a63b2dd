"""Forms and training files as a broken program, or somebody who means harm, would send them."""

from __future__ import annotations

import json
from random import Random

BOUNDARY = "b0undary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
GOOD_LINE = json.dumps(
    {"messages": [{"role": "user", "content": "2?"}, {"role": "assistant", "content": "4"}]}
).encode()

#: What readers of JSON and text have stumbled over.
_BAD_LINES = (
    b"[" * 20_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"messages": ' + b"[" * 3_000 + b"]" * 3_000 + b"}",
    b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"prompt": "\\u0000\\ud83d", "completion": "\\udc00"}',
    b'{"prompt": "x", "completion": ' + b"9" * 5_000 + b"}",
    b'{"text": 1e999}',
    b'{"text": NaN}',
    b'{"text": "' + b"a" * 1_000_000 + b'"}',
    b'{"text": "a", ' + b",".join(b'"k%d": 0' % key for key in range(20_000)) + b"}",
    b"\x00" * 1_000,
    b"\xff\xfe{\x00}\x00",
    b'{"text": "\xc0\x80\xed\xa0\x80"}',
    b'\xef\xbb\xbf{"text": "x"}',
    b'{"text": "x"}\r{"text": "y"}',
    b"null",
    b"",
    b'"text"',
    b'{"messages": []}',
    b'{"messages": [{"role": {"a": 1}, "content": [null]}]}',
    b'{"messages": [{"role": "assistant", "content": "{{ 1/0 }}"}]}',
    '{"text": "e\u0301\u200b\u2028\x85"}'.encode(),
)


def hostile_file(rng: Random) -> bytes:
    """A few lines, most of them right, one or more of them not; a third has no end of line."""
    lines = [GOOD_LINE] * rng.randrange(4)
    lines += (rng.choice(_BAD_LINES) for _ in range(rng.randint(1, 3)))
    rng.shuffle(lines)
    return (b"\n".join(lines) + rng.choice((b"\n", b"\r\n", b""))) or b"\n"


def form(content: bytes, filename: bytes = b"train.jsonl", purpose: bytes = b"fine-tune") -> bytes:
    """As clients send it, if the arguments are."""
    edge = b"--" + BOUNDARY.encode()
    return b"\r\n".join(
        (
            edge,
            b'Content-Disposition: form-data; name="purpose"',
            b"",
            purpose,
            edge,
            b'Content-Disposition: form-data; name="file"; filename="' + filename + b'"',
            b"Content-Type: application/jsonl",
            b"",
            content,
            edge + b"--",
            b"",
        )
    )


_NAMES = (
    *(b"../../etc/passwd", b"a\x00.jsonl", b'a";b="c.jsonl', b"\xff\xfe.jsonl"),
    *(b"a" * 5_000, b"", b"CON", b"a\r\nX-Evil: 1"),
)


def broken_form(rng: Random) -> bytes:
    """A form that something is wrong with; now and then nothing that matters."""
    body = form(GOOD_LINE * rng.randint(1, 50))
    match rng.randrange(9):
        case 0:
            return body[: rng.randrange(len(body))]
        case 1:
            at, length = rng.randrange(len(body)), rng.randint(1, 200)
            return body[:at] + body[at + length :]
        case 2:
            at = rng.randrange(len(body))
            return body[:at] + rng.randbytes(rng.randint(1, 2_000)) + body[at:]
        case 3:
            changed = bytearray(body)
            for _ in range(rng.randint(1, 40)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            return bytes(changed)
        case 4:
            return form(GOOD_LINE, filename=rng.choice(_NAMES))
        case 5:
            return form(GOOD_LINE, purpose=rng.choice((b"", b"\x00", b"[" * 70_000, b"assistants")))
        case 6:
            edge = f"--{BOUNDARY}\r\n".encode()
            return edge * rng.randint(1, 5_000)
        case 7:
            name = b"X-" + b"h" * rng.randint(1, 100_000)
            return body.replace(b"Content-Type: application/jsonl", name + b": " + name)
        case _:
            return rng.randbytes(rng.randint(1, 50_000))


def broken_request(rng: Random, secret: str) -> bytes:
    """An upload whose length, chunks or end do not fit together. What follows it, if anything, is
    for the server to make sense of."""
    body = form(GOOD_LINE * rng.randint(1, 5_000))
    head = (
        "POST /v1/files HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {secret}\r\nContent-Type: {CONTENT_TYPE}\r\n"
    ).encode()
    length = b"Content-Length: %d\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    match rng.randrange(6):
        case 0:
            return head + length % len(body) + body[: rng.randrange(len(body))]
        case 1:
            return head + length % rng.randrange(len(body)) + body
        case 2:
            return head + chunked + b"%x\r\n" % len(body) + body[: rng.randrange(len(body))]
        case 3:
            return head + chunked + rng.choice((b"zz", b"-1", b"f" * 40, b"")) + b"\r\n" + body
        case 4:
            return head + length % len(body) + chunked + b"0\r\n\r\n" + body
        case _:
            return (head + length % len(body))[: rng.randrange(20, len(head))]
