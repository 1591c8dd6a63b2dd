"""The live index: jobs, files, models, keys, workers, rounds, events, forecasts.

`StubStore` keeps it in memory, `RedisStore` in Redis.
"""

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
from pando_shared.store.protocol.store import Store
from pando_shared.store.protocol.stored_bytes import StoredBytesStore
from pando_shared.store.protocol.uploads import UploadStore
from pando_shared.store.protocol.usage import UsageStore
from pando_shared.store.protocol.webhooks import WebhookStore
from pando_shared.store.protocol.workers import WorkerStore
from pando_shared.store.values import Change, JobChanges, NewJob

__all__ = [
    "ApiKeyStore",
    "Change",
    "EventStore",
    "FileStore",
    "ForecastStore",
    "JobChangeStore",
    "JobChanges",
    "JobStore",
    "LeadershipStore",
    "LearntStore",
    "ModelStore",
    "NewJob",
    "ReportStore",
    "RequestBucketStore",
    "RoundStore",
    "SampleStore",
    "SignalStore",
    "Store",
    "StoredBytesStore",
    "UploadStore",
    "UsageStore",
    "WebhookStore",
    "WorkerStore",
]
