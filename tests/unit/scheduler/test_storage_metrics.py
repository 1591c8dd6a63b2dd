"""The disk below storage is watched; what has no disk has no series."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry

from pando_scheduler.storage_metrics import StorageMetrics
from pando_shared.storage import Storage


def test_the_disk_of_a_folder(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(StorageMetrics(Storage(f"file://{tmp_path}")))
    disk = os.statvfs(tmp_path)
    assert registry.get_sample_value("pando_disk_size_bytes") == disk.f_frsize * disk.f_blocks
    free = registry.get_sample_value("pando_disk_free_bytes")
    assert free is not None
    assert 0 < free <= disk.f_frsize * disk.f_bfree


def test_an_object_store_has_none() -> None:
    registry = CollectorRegistry()
    registry.register(StorageMetrics(Storage("memory://metrics")))
    assert list(registry.collect()) == []


def test_a_folder_that_is_not_there_yet_has_none(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(StorageMetrics(Storage(f"file://{tmp_path}/none")))
    assert list(registry.collect()) == []
