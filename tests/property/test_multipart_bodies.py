"""Whatever bytes come as a form, the parser takes them or says what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from pando_api.errors import TooLarge
from pando_api.form_stream import copy_file
from pando_api.multipart import MultipartForm
from pando_shared.errors import InvalidRequest
from pando_shared.settings import MIB

CONTENT_TYPE = "multipart/form-data; boundary=frontier"
CONTENT = b'{"text": "a"}\r\n--front\n'
VALID = (
    b'--frontier\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + CONTENT + b"\r\n--frontier--\r\n"
)
#: What parsers of forms have stumbled over.
TOKENS = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"\x00",
        b"--frontier",
        b"--frontier--",
        b"--frontier\r\n",
        b"Content-Disposition: form-data; ",
        b"Content-Type: multipart/mixed; boundary=inner\r\n",
        b'name="file"; filename="',
        b"name*=x; name*0=y; ",
        b"name*" + b"9" * 5000 + b"=x; ",
        b"filename*=utf-8''%ff",
        b"filename*=no-such-charset''%ff",
        b'"',
        b";",
        b"\xff\xfe",
        b"x" * 5000,
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good body with some places cut out, doubled or filled with something else."""
    body = VALID
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 60)))
        put = draw(st.one_of(TOKENS, st.binary(max_size=8), st.just(body[start:end] * 2)))
        body = body[:start] + put + body[end:]
    return body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body


def parse(body: bytes, chunk_bytes: int) -> tuple[MultipartForm, bytes]:
    form, content = MultipartForm(CONTENT_TYPE), b""
    for start in range(0, len(body), chunk_bytes):
        content += b"".join(form.feed(body[start : start + chunk_bytes]))
    form.finish()
    return form, content


@given(chunk_bytes=st.integers(1, len(VALID)))
def test_chunks_may_end_anywhere(chunk_bytes: int) -> None:
    form, content = parse(VALID, chunk_bytes)
    assert (form.filename, form.fields, content) == ("a.jsonl", {"purpose": "fine-tune"}, CONTENT)


@settings(max_examples=500, deadline=None)
@given(body=mutated(), chunk_bytes=st.integers(1, 200))
@example(body=VALID.replace(b"name=", b"name*=x; name*0=y; name=", 1), chunk_bytes=200)
@example(body=VALID.replace(b"name=", b"name*" + b"9" * 5000 + b"=", 1), chunk_bytes=200)
def test_any_body_is_taken_or_refused_alike_in_any_chunks(body: bytes, chunk_bytes: int) -> None:
    def outcome(chunk_bytes: int) -> object:
        try:
            form, content = parse(body, chunk_bytes)
        except InvalidRequest:
            return "refused"
        return form.filename, form.fields, content

    assert outcome(chunk_bytes) == outcome(len(body) + 1)


@settings(max_examples=300, deadline=None)
@given(content_type=st.text(max_size=40) | TOKENS.map(lambda t: f"{CONTENT_TYPE}; {t!r}"))
@example(content_type="multipart/form-data; boundary*=x; boundary*0=y")
def test_any_content_type(content_type: str) -> None:
    with suppress(InvalidRequest):
        MultipartForm(content_type.encode("utf-8").decode("latin-1"))


def endless_header() -> Iterator[bytes]:
    yield b"--frontier\r\nContent-Disposition: form-data; name="
    while True:
        yield b"x" * 65536


def endless_fields() -> Iterator[bytes]:
    number = 0
    while True:
        head = f'--frontier\r\nContent-Disposition: form-data; name="{number}"\r\n\r\n\r\n'
        yield head.encode() * 500
        number += 1


def endless_epilogue() -> Iterator[bytes]:
    yield VALID
    while True:
        yield b"\r\n" * 32768


@pytest.mark.parametrize("body", [endless_header, endless_fields, endless_epilogue])
async def test_what_stands_around_the_file_is_bounded(body: Callable[[], Iterator[bytes]]) -> None:
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        chunk = next(chunks)
        taken += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": True}

    chunks = body()
    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(InvalidRequest):
        await copy_file(
            request, MultipartForm(CONTENT_TYPE), lambda *_: None, 10 * MIB, TooLarge("too large")
        )
    assert taken < 2 * MIB
