"""What a machine, or a container on it, has."""

from __future__ import annotations

import psutil
import pytest

from pando_worker.engine import device


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("1073741824\n", 1 << 30), ("max\n", None), ("", None), (str(1 << 60), None), (None, None)],
)
def test_a_containers_limit_counts(tmp_path, monkeypatch, limit, expected):
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    monkeypatch.setattr(device, "_LIMIT", file)
    assert device.memory_bytes("cpu") == (expected or psutil.virtual_memory().total)
