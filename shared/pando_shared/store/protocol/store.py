"""`Store`, put together from its parts."""

from __future__ import annotations

from typing import Protocol

from pando_shared.store.protocol.api_keys import ApiKeyStore
from pando_shared.store.protocol.changes import JobChangeStore
from pando_shared.store.protocol.events import EventStore
from pando_shared.store.protocol.files import FileStore
from pando_shared.store.protocol.forecasts import ForecastStore
from pando_shared.store.protocol.jobs import JobStore
from pando_shared.store.protocol.leadership import LeadershipStore
from pando_shared.store.protocol.learnt import LearntStore
from pando_shared.store.protocol.models import ModelStore
from pando_shared.store.protocol.reports import ReportStore
from pando_shared.store.protocol.request_buckets import RequestBucketStore
from pando_shared.store.protocol.rounds import RoundStore
from pando_shared.store.protocol.samples import SampleStore
from pando_shared.store.protocol.signals import SignalStore
from pando_shared.store.protocol.stored_bytes import StoredBytesStore
from pando_shared.store.protocol.uploads import UploadStore
from pando_shared.store.protocol.usage import UsageStore
from pando_shared.store.protocol.webhooks import WebhookStore
from pando_shared.store.protocol.workers import WorkerStore


class Store(
    JobStore,
    JobChangeStore,
    EventStore,
    FileStore,
    UploadStore,
    ModelStore,
    ApiKeyStore,
    RequestBucketStore,
    StoredBytesStore,
    WorkerStore,
    RoundStore,
    SampleStore,
    ReportStore,
    LearntStore,
    UsageStore,
    ForecastStore,
    LeadershipStore,
    SignalStore,
    WebhookStore,
    Protocol,
):
    """All methods are atomic, synchronous and safe to call from any thread."""

    def ping(self) -> bool:
        """Whether the store answers."""
        ...
