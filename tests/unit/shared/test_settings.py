"""What the environment sets, as far as it is about a worker's memories."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pando_shared.settings import Settings


def test_memories_are_the_workers_own_choice_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    assert (settings.memory_bytes, settings.host_memory_bytes, settings.rows_dir) == (None,) * 3
    monkeypatch.setenv("PANDO_MEMORY_BYTES", "1000")
    monkeypatch.setenv("PANDO_HOST_MEMORY_BYTES", "2000")
    monkeypatch.setenv("PANDO_ROWS_DIR", "/disk/rows")
    settings = Settings()
    assert (settings.memory_bytes, settings.host_memory_bytes) == (1000, 2000)
    assert settings.rows_dir == Path("/disk/rows")


def test_less_than_no_memory_is_refused() -> None:
    with pytest.raises(ValidationError, match="host_memory_bytes"):
        Settings(host_memory_bytes=-1)
