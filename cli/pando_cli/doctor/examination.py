"""All checks of one machine and one stack, in the order in which people read them."""

from __future__ import annotations

import time
from concurrent.futures import Future
from importlib.metadata import version

import httpx

from pando_cli.doctor import clock_skew, fleet, ports, preparing, redis_state, service
from pando_cli.doctor.deadline import Check, run_within
from pando_cli.doctor.disk import (
    STORAGE,
    home_disk,
    local_root,
    open_storage,
    storage_disk,
    storage_writable,
)
from pando_cli.doctor.finding import Finding, skipped
from pando_cli.doctor.gpu import gpu_state, processes_below
from pando_cli.doctor.gpu_facts import read_gpus, torch_cuda
from pando_cli.doctor.limits import limits
from pando_cli.doctor.models import models
from pando_cli.doctor.permissions import home_mode, key_files
from pando_cli.doctor.policy import policy
from pando_cli.doctor.redis_facts import RedisFacts, read_redis
from pando_cli.doctor.service import ApiFacts, read_api
from pando_cli.doctor.software import software
from pando_cli.doctor.subject import Subject
from pando_shared.errors import Unavailable
from pando_shared.store.redis import RedisStore

#: All checks run side by side, and end within this long.
SECONDS = 8.0


def examine(subject: Subject, transport: httpx.BaseTransport | None = None) -> list[Finding]:
    """`transport`: how to reach the API, if not over the network."""
    redis: Future[RedisFacts | Finding | None] = Future()
    api: Future[ApiFacts | Finding | None] = Future()

    def ask_redis() -> list[Finding]:
        redis.set_result(read_redis(subject.redis_url) if subject.redis_url else None)
        return _redis(redis.result(), subject)

    def ask_api() -> list[Finding]:
        url, key = subject.url, subject.api_key
        api.set_result(read_api(url, key, transport) if url else None)
        return _api(api.result(), subject)

    checks: dict[str, Check] = {
        "software": software,
        "limits": limits,
        "home": lambda: [home_mode(subject.home), key_files(subject.home)],
        "disk": lambda: [home_disk(subject.home.root)],
        "storage": lambda: _storage(subject),
        "GPU": lambda: _gpu(subject),
        "ports": lambda: _ports(subject),
        "policy": lambda: [_policy(subject)],
        "base models": lambda: _models(subject),
        "Redis": ask_redis,
        "API": ask_api,
        "fleet": lambda: _fleet(redis.result(), api.result(), subject),
    }
    return [*subject.configuration, *run_within(SECONDS, checks)]


def _storage(subject: Subject) -> list[Finding]:
    if subject.elsewhere:
        return [skipped(STORAGE, subject.nothing_runs)]
    storage = open_storage(subject.settings.storage_url)
    if isinstance(storage, Finding):
        return [storage]
    return [storage_disk(local_root(storage)), storage_writable(storage)]


def _gpu(subject: Subject) -> list[Finding]:
    own = processes_below(subject.stack.pid) if subject.stack else None
    return gpu_state(read_gpus(), torch_cuda(), own)


def _ports(subject: Subject) -> list[Finding]:
    if subject.stack is not None:
        return ports.running(f"in use by the stack in {subject.home.root}")
    if subject.redis_url is not None or subject.elsewhere:
        return ports.running("the stack that is looked at does not come from `pando up` here")
    settings = subject.settings
    return [ports.api_port(settings.host, settings.port), ports.redis_port(subject.home)]


def _policy(subject: Subject) -> Finding:
    if subject.elsewhere:
        return skipped("policy", subject.nothing_runs)
    own = subject.home.policy
    ignored = own if subject.stack is not None and own.exists() else None
    return policy(subject.policy_file, ignored)


def _models(subject: Subject) -> list[Finding]:
    if subject.elsewhere:
        return [skipped("base models", subject.nothing_runs)]
    return models(subject.settings.models)


def _redis(redis: RedisFacts | Finding | None, subject: Subject) -> list[Finding]:
    if isinstance(redis, RedisFacts):
        return [*redis_state.redis_state(redis), clock_skew.clock_skew(redis)]
    if redis is None:
        return [skipped("Redis", subject.nothing_runs)]
    return [redis]


def _api(api: ApiFacts | Finding | None, subject: Subject) -> list[Finding]:
    if isinstance(api, ApiFacts):
        return service.service_state(api, version("pando-cli"))
    if api is not None:
        return [api]
    if subject.redis_url is None:
        return [skipped("API", subject.nothing_runs)]
    return [skipped("API", "where it is has not been said (--url, PANDO_URL)")]


def _fleet(
    redis: RedisFacts | Finding | None, api: ApiFacts | Finding | None, subject: Subject
) -> list[Finding]:
    """From the store if it answers, which knows the scheduler too; else from the API."""
    if isinstance(redis, RedisFacts) and subject.redis_url is not None:
        return _fleet_in_store(redis, subject.redis_url, subject)
    if isinstance(api, ApiFacts) and api.workers is not None:
        why = "only Redis knows who leads; set PANDO_REDIS_URL"
        return [
            fleet.workers(fleet.signs_of_api(api.workers, time.time())),
            fleet.unknown_scheduler(why),
            preparing.unknown("only Redis leads to those that prepare data; set PANDO_REDIS_URL"),
        ]
    asked = redis is not None or api is not None
    why = "neither Redis nor the API tells" if asked else subject.nothing_runs
    return _unknown_fleet(why)


def _fleet_in_store(redis: RedisFacts, url: str, subject: Subject) -> list[Finding]:
    store = RedisStore(url)
    try:
        signs = fleet.signs_in_store(store, subject.settings, redis.now)
        return [
            fleet.workers(signs),
            fleet.scheduler(store.leader()),
            preparing.preparing_in_store(store, url, redis.now),
        ]
    except Unavailable as error:
        return _unknown_fleet(error.message)
    finally:
        store.close()


def _unknown_fleet(why: str) -> list[Finding]:
    return [fleet.unknown_workers(why), fleet.unknown_scheduler(why), preparing.unknown(why)]
