"""The one order of everything the store lists: by time, ties by name, so that pages are stable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pando_shared.jobs import Job
from pando_shared.records import ApiKey, CheckpointRecord, FileRecord, ModelRecord
from pando_shared.webhooks import WebhookEndpoint
from pando_shared.workers import Round

_Item = Job | FileRecord | ModelRecord | CheckpointRecord | ApiKey | Round | WebhookEndpoint
Listed = TypeVar(
    "Listed", Job, FileRecord, ModelRecord, CheckpointRecord, ApiKey, Round, WebhookEndpoint
)


def _age(
    item: _Item,
) -> tuple[float, int, str]:
    match item:
        case Round():
            return item.planned_at, 0, item.id
        case CheckpointRecord():
            return item.created_at, item.step, item.id
        case ModelRecord():
            return item.created_at, 0, item.name
        case _:
            return item.created_at, 0, item.id


def oldest_first(items: Iterable[Listed]) -> list[Listed]:
    return sorted(items, key=_age)


def newest_first(items: Iterable[Listed]) -> list[Listed]:
    return sorted(items, key=_age, reverse=True)
