"""`pando up` from the first lock to the last process: start, wait, report, supervise, stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from pando_cli import stack_record
from pando_cli.client_config import ClientConfig
from pando_cli.errors import StackError
from pando_cli.home import Home
from pando_cli.stack import home_lock
from pando_cli.stack.first_key import ensure_key
from pando_cli.stack.plan import StackPlan, redis_spec, service_specs
from pando_cli.stack.ports import is_free, require_free
from pando_cli.stack.readiness import Readiness
from pando_cli.stack.redis_server import RedisAddress, configure
from pando_cli.stack.stop_signals import StopSignals
from pando_cli.stack.supervisor import Supervisor
from pando_cli.stack_record import StackRecord
from pando_shared.clock import SystemClock
from pando_shared.errors import Unavailable
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore

REDIS_SECONDS = 30.0
#: A readiness question a tick would keep the API busy.
_ASK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class RunningStack:
    """What a caller needs to use a stack.

    `pids` has the supervisor's and every service's; `metrics` the URLs that Prometheus reads.
    """

    home: Home
    config: ClientConfig
    pids: dict[str, int]
    metrics: dict[str, str]


def run_stack(
    plan: StackPlan,
    signals: StopSignals,
    ready_seconds: float,
    when_ready: Callable[[RunningStack], None],
    note: Callable[[str], None],
) -> None:
    """Bring a stack up, call `when_ready`, and supervise it until a stop signal.

    Raises:
        StackError: the home or the port is taken, or the stack did not get ready.
    """
    began = time.time()
    with home_lock.hold(plan.home) as lock:
        # Until ours is there, nobody may take a dead stack's pid and password for it.
        stack_record.drop(plan.home)
        require_free(plan.host, plan.port)
        config_file, redis = configure(plan.home, plan.host)
        environment = plan.environment(redis)
        record = StackRecord(os.getpid(), plan.url, environment)
        stack_record.save(plan.home, record)
        with Supervisor(plan.home.logs, lock) as supervisor:
            signals.on_second(supervisor.hurry)
            supervisor.start([redis_spec(config_file)])
            note("Redis is starting")
            store = _wait_for_redis(supervisor, redis, signals)
            if store is None:
                return
            storage = Storage(environment["PANDO_STORAGE_URL"])
            config = ensure_key(plan.home, plan.url, store, storage, SystemClock())
            specs = service_specs(plan, environment)
            supervisor.start(specs)
            if not _wait_until_ready(supervisor, plan, config, signals, began, ready_seconds, note):
                return
            pids = {"supervisor": os.getpid(), **supervisor.pids}
            metrics = {spec.name: spec.metrics_url for spec in specs if spec.metrics_url}
            when_ready(RunningStack(plan.home, config, pids, metrics))
            supervisor.run(signals.requested)
            note("Stopping (Ctrl-C again: at once)")


def _wait_for_redis(
    supervisor: Supervisor, address: RedisAddress, signals: StopSignals
) -> Store | None:
    """The store once it answers; None if a stop was asked for."""
    store: Store = RedisStore(address.url)
    deadline = time.monotonic() + REDIS_SECONDS

    def answers() -> bool:
        if time.monotonic() > deadline:
            raise StackError("Redis did not answer in time", hint="See redis.log in the logs.")
        # Asked only once somebody listens: the store itself would wait, and nobody would tick.
        if is_free(address.host, address.port):
            return False
        try:
            return store.ping()
        except Unavailable:
            # It reads what it has kept, which may take a while, or may end it; then its log says
            # why, once it has died often enough.
            return False

    return store if supervisor.run_until(answers, signals.requested) else None


def _wait_until_ready(
    supervisor: Supervisor,
    plan: StackPlan,
    config: ClientConfig,
    signals: StopSignals,
    since: float,
    ready_seconds: float,
    note: Callable[[str], None],
) -> bool:
    """False if a stop was asked for meanwhile."""
    readiness = Readiness(config, plan.worker_ids, since)
    deadline = time.monotonic() + ready_seconds
    ask_at = 0.0
    said: str | None = None

    def ready() -> bool:
        nonlocal ask_at, said
        now = time.monotonic()
        if now < ask_at:
            return False
        ask_at = now + _ASK_SECONDS
        lacking = readiness.lacking()
        if lacking is not None and now > deadline:
            raise StackError(
                f"not ready after {ready_seconds:.0f} s: {lacking}",
                code="not_ready",
                hint=f"The logs in {plan.home.logs} say why; --timeout grants more time.",
            )
        if lacking != said and lacking is not None:
            note(lacking)
        said = lacking
        return lacking is None

    return supervisor.run_until(ready, signals.requested)
