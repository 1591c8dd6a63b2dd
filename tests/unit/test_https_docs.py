"""What docs/https.md tells a proxy's operator to allow is what the API does."""

from __future__ import annotations

import re
from pathlib import Path

from sse_starlette import EventSourceResponse

from pando_api.main import KEEP_ALIVE_SECONDS
from pando_api.upload_parts import MAX_PART_BYTES
from pando_shared.settings import MIB, Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "https.md").read_text(encoding="utf-8")


def row(name: str) -> str:
    (found,) = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", PAGE, re.MULTILINE)
    return str(found)


def test_times_and_sizes_are_the_apis() -> None:
    settings = Settings()
    assert f"less than {KEEP_ALIVE_SECONDS} s" in row("idle connections to Pando")
    assert f"({settings.sample_timeout_seconds:g})" in row("time to an answer")
    assert f"over {EventSourceResponse.DEFAULT_PING_INTERVAL} s" in row("a silent connection")
    assert f"{settings.max_upload_bytes // MIB} MiB" in row("requests' bodies")
    assert f"{MAX_PART_BYTES // MIB} MiB" in row("size of a body")
