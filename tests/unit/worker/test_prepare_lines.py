import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pando_shared.errors import InvalidTrainingFile
from pando_worker.prepare import lines
from pando_worker.prepare.lines import read_records


def records(data: bytes) -> list[tuple[int, dict[str, object]]]:
    return list(read_records(io.BytesIO(data)))


json_objects = st.dictionaries(
    st.text(max_size=8), st.text(max_size=20) | st.integers() | st.none(), max_size=4
)


@given(
    objects=st.lists(json_objects, min_size=1),
    newline=st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_round_trip_whatever_the_chunks(
    objects: list[dict[str, object]], newline: bytes, mark: bytes, ascii_only: bool, chunk: int
) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_only).encode() for value in objects]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES", chunk)
        read = records(mark + newline.join(texts))
    assert [value for _, value in read] == objects
    step = newline.count(b"\n")
    assert [number for number, _ in read] == [1 + step * i for i in range(len(objects))]


def test_names_malformed_line_4711() -> None:
    data = b'{"text": "fine"}\n' * 4710 + b'{"text": "not closed\n' + b'{"text": "fine"}\n'
    with pytest.raises(InvalidTrainingFile, match=r"^line 4,711: not a JSON object: .*character"):
        records(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\n  \n\r\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        ('{"text": "x"}'.encode("utf-16"), "line 1: the file is UTF-16; save it as UTF-8"),
        ('{"text": "ok"}\n{"text": "é"}'.encode("latin-1"), "line 2: not UTF-8: byte 0xe9 at pos"),
        (b"PAR1\x15\x04\x15", "line 1: not a JSON object"),
        (b'[{"text": "x"}]', "line 1: must be a JSON object, got a list; .*no list around"),
        (b'[\n{"text": "x"}\n]', "line 1: not a JSON object: .*no list around"),
        (b'{\n"text": "x"\n}', "line 1: not a JSON object: .*whole on one line"),
        (b'{"text": "x"} {"text": "y"}', "line 1: not a JSON object: Extra data at character 15"),
        (b"text\nhello", "line 1: not a JSON object"),
        (b"3\n", "line 1: must be a JSON object, got a number"),
        (b"null\n", "line 1: must be a JSON object, got null"),
        (b'{"a": ' + b"[" * 100_000, "line 1: not readable as JSON: .* nested too deeply$"),
        (
            b'{"a": "b\x00c"}',
            "line 1: not a JSON object: Invalid control character at character 9$",
        ),
        (
            b'{"a": ' + b"9" * 5_000 + b"}",
            "line 1: not readable .*: a number has thousands of digits$",
        ),
    ],
)
def test_says_what_is_wrong_and_where(data: bytes, message: str) -> None:
    with pytest.raises(InvalidTrainingFile, match=message):
        records(data)


def test_an_endless_line_does_not_fill_the_memory() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return b"x" * size

    stream = Endless()
    with pytest.raises(InvalidTrainingFile, match=r"line 1: longer than 16 MiB"):
        list(read_records(stream))  # type: ignore[arg-type]
    assert stream.given <= lines.MAX_LINE_BYTES + 2 * lines.CHUNK_BYTES
