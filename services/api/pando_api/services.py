"""What every request works with, made once by `create_app`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pando_api.event_watch import EventWatch
from pando_api.failed_logins import FailedLogins
from pando_api.job_quota import JobQuota
from pando_api.metrics import Metrics
from pando_api.open_streams import OpenStreams
from pando_api.request_rate import RequestRate
from pando_api.storage_quota import StorageQuota
from pando_shared.catalogue import BaseModel
from pando_shared.clock import Clock
from pando_shared.policy_file import PolicyFile
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.messages import Messenger


@dataclass(frozen=True, slots=True)
class Services:
    """`started_at` dates the base models, which have no date of their own."""

    settings: Settings
    store: Store
    storage: Storage
    messenger: Messenger
    catalogue: Mapping[str, BaseModel]
    clock: Clock
    metrics: Metrics
    policies: PolicyFile
    job_quota: JobQuota
    request_rate: RequestRate
    failed_logins: FailedLogins
    storage_quota: StorageQuota
    event_watch: EventWatch
    open_streams: OpenStreams
    started_at: float
