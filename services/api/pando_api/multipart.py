"""A multipart form with one file, parsed as it arrives: its bytes are handed on, not kept."""

from __future__ import annotations

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pando_shared.errors import InvalidRequest

#: Plain fields are words such as a purpose; nobody needs more than this for all of them.
MAX_FIELD_BYTES = 64 * 1024


class MultipartForm:
    """Feed it the body's chunks; `feed` returns the file bytes each of them held.

    `fields` and `filename` are complete once `finish` has returned.
    """

    def __init__(self, content_type: str, file_field: str = "file"):
        """Raises InvalidRequest if `content_type` is not a multipart form with a boundary."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequest(
                f"send multipart/form-data with the file in the field {file_field!r}, "
                f"not {content_type or 'an untyped body'!r}"
            )
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._file_field = file_field
        self._pieces: list[bytes] = []
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._field: str | None = None
        self._value = bytearray()
        self._field_bytes = 0
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise InvalidRequest(f"the form's boundary cannot be used: {error}") from error

    def feed(self, chunk: bytes) -> list[bytes]:
        """Raises InvalidRequest if the form is malformed or holds what it should not."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"the multipart form is malformed: {error}") from error
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> None:
        """Raises InvalidRequest if the closing boundary never came."""
        if not self._complete:
            raise InvalidRequest("the multipart form ends before its closing boundary")

    def _on_part_begin(self) -> None:
        self._disposition = b""
        self._field = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            self._field = name
            self._value.clear()
            return
        if name != self._file_field or self.filename is not None:
            raise InvalidRequest(
                f"the form must hold one file, in the field {self._file_field!r}; "
                f"got another in {name!r}",
                param=name,
            )
        self.filename = options[b"filename"].decode("utf-8", "replace")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._pieces.append(data[start:end])
            return
        self._field_bytes += end - start
        if self._field_bytes > MAX_FIELD_BYTES:
            raise InvalidRequest(
                f"the form's fields hold more than {MAX_FIELD_BYTES} bytes", param=self._field
            )
        self._value += data[start:end]

    def _on_part_end(self) -> None:
        if self._field is not None:
            self.fields[self._field] = self._value.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._complete = True
