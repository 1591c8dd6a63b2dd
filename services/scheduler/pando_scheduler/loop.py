"""The loop: look at the cluster, decide, carry it out, wait until something happens.

Several schedulers may run: one leads, by a lease in the store, and the others wait for it to lapse.
Whatever two that lead for a moment decide is fenced by the jobs' epochs, as with any late writer.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from pando_scheduler.archiving import Archiving
from pando_scheduler.catching_up import CatchingUp
from pando_scheduler.cluster import Cluster
from pando_scheduler.decisions import AskToLeave, Decision, PlaceRound, Reprepare
from pando_scheduler.executor import Executor
from pando_scheduler.exporting import Exporting
from pando_scheduler.forecaster import Forecaster
from pando_scheduler.halving import halve
from pando_scheduler.knowledge import Knowledge
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.metrics import SchedulerMetrics
from pando_scheduler.mirror import Mirror
from pando_scheduler.plan import Plan
from pando_scheduler.reaper import reap_leases, reap_prepares, reap_rounds
from pando_scheduler.rounds import next_rounds, renewals
from pando_scheduler.rules import PrepareSends, Rules
from pando_scheduler.schedule import schedule
from pando_shared.clock import JumpingClock
from pando_shared.errors import Unavailable
from pando_shared.ids import new_id
from pando_shared.jobs import JobState, Yield
from pando_shared.policy_file import PolicyFile
from pando_shared.recovery import is_lost, recover
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.messages import Messenger

log = logging.getLogger(__name__)

#: The longest between two looks: leases run out, and workers appear, without a wake-up.
POLL_SECONDS = 0.25
#: The pause after a look that failed.
RETRY_SECONDS = 1.0
#: How long one leads without renewing it: what a fail-over takes.
LEAD_SECONDS = 5.0
#: How often one that does not lead asks.
STANDBY_SECONDS = 1.0
#: Every process of a cluster has noticed within this time that Redis's clock has jumped.
JUMP_SECONDS = 12.0
#: Everything is looked at anew this often, whether or not it seems to have changed.
_ANEW_SECONDS = 60.0
#: How often metrics are brought up to date.
_SHOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the loop works with and on. `exports`: whether jobs may have integrations here."""

    store: Store
    storage: Storage
    messenger: Messenger
    clock: JumpingClock
    policy_file: PolicyFile
    exports: bool = False


class SchedulerLoop:
    """Runs `schedule` over the store."""

    def __init__(
        self,
        around: Surroundings,
        rules: Rules,
        predict: LearntPredictor,
        metrics: SchedulerMetrics,
    ):
        self.id = new_id("scheduler")
        self._around, self._rules, self._metrics = around, rules, metrics
        self._store, self._clock = around.store, around.clock
        self._predict = predict
        self._executor = Executor(
            around.store,
            around.storage,
            around.messenger,
            around.clock,
            rules,
            lambda: self.cluster.policy,
            lambda job_id: self._mirror.jobs.get(job_id),
        )
        self._catching_up = CatchingUp(around.store, around.storage)
        self._archiving = Archiving(around.store, around.storage)
        self._prepares: dict[str, PrepareSends] = {}
        self._led_at: float | None = None
        self._jumped_at = around.clock.jumped_at
        self._amnesty_until = float("-inf")
        self._begin()

    def _begin(self) -> None:
        """Know nothing: what others decided meanwhile is in the store."""
        cluster = Cluster(self._around.policy_file.current(), self._predict)
        self._mirror = Mirror(
            self._store, cluster, self._predict, self._rules, self._metrics.jobs.changed
        )
        self._knowledge = Knowledge(self._store, cluster, self._predict, self._mirror)
        self._forecaster = Forecaster(self._store, self._mirror, self._metrics)
        self._exporting = Exporting(self._store, self._mirror, self._around.messenger)
        self._anew_at = self._shown_at = float("-inf")

    @property
    def cluster(self) -> Cluster:
        """The picture that decisions rest on."""
        return self._mirror.cluster

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. Outlives an absence of Redis or storage."""
        while not stop.is_set():
            try:
                if self.lead():
                    self.tick()
                    self._store.wait(POLL_SECONDS)
                else:
                    # Whoever waited on the store here would take the leader's wake-up.
                    stop.wait(STANDBY_SECONDS)
            except (Unavailable, OSError) as error:
                log.warning("trying again in %.0f s: %s", RETRY_SECONDS, error)
                self._anew_at = float("-inf")
                stop.wait(RETRY_SECONDS)
        try:
            self._store.step_down(self.id)
        except Unavailable:
            log.info("the lead lapses by itself")

    def lead(self) -> bool:
        """Whether this scheduler decides now. Whoever comes to lead starts from what is stored."""
        now = self._clock.now()
        if self._led_at is not None and 0 <= now - self._led_at < LEAD_SECONDS / 5:
            return True
        leads = self._store.lead(self.id, LEAD_SECONDS)
        if leads and self._led_at is None:
            log.info("%s leads", self.id)
            self._begin()
            self._knowledge.recall(now)
            if self._around.exports:
                self._exporting.recall()
        if not leads and self._led_at is not None:
            log.warning("%s leads no more", self.id)
        self._led_at = now if leads else None
        self._metrics.leads.set(leads)
        return leads

    def tick(self) -> None:
        """One look at the cluster, and everything that follows from it."""
        now = self._clock.now()
        if self._in_amnesty(now):
            return
        with self._metrics.plan_seconds.time():
            self._mirror.look(now)
            if self._mirror.forgetful:
                self._recover_if_lost(now)
            self._knowledge.learn(now)
            self.cluster.set_policy(self._around.policy_file.current(), now)
            if now - self._anew_at >= _ANEW_SECONDS:
                self._anew_at = now
                self._mirror.view_again(now)
        reaped = self._reaped(now)
        if reaped:
            self._carry_out(reaped, now)
            self._mirror.look(now)
        with self._metrics.plan_seconds.time():
            plan = schedule(self.cluster, now)
        # Settled first: what goes wrong while it is carried out is marked to be looked at again.
        self.cluster.settle(now)
        self._apply(plan, now)
        self._halve()
        self._knowledge.keep(now)
        self._catching_up.look(now)
        self._archiving.look(now)
        if self._forecaster.is_due(now):
            self._mirror.look_at_jobs(now)  # as the plan has left them
            self._forecaster.renew(now)
        if not 0 <= now - self._shown_at < _SHOW_SECONDS:
            self._shown_at = now
            self._show(now)
        self._exporting.look(now)

    def _recover_if_lost(self, now: float) -> None:
        """Redis is another than before, or was emptied: put back what it lacks."""
        if is_lost(self._store, self._around.storage):
            log.warning("Redis lacks jobs or keys that storage holds; recovering them")
            log.warning("recovered: %s", recover(self._store, self._around.storage, now))
            self._mirror.look(now)
        self._mirror.forgetful = False

    def _show(self, now: float) -> None:
        """Tell Prometheus how things are."""
        knowledge = self._knowledge
        self._metrics.observe(self._mirror, self._around.policy_file, now)
        self._metrics.observe_learnt(
            knowledge.calibrations, knowledge.speeds, self._rules.memory_headroom
        )

    def _in_amnesty(self, now: float) -> bool:
        """Redis's clock has jumped: until everybody has noticed, nobody's lease can be judged."""
        if self._clock.jumped_at != self._jumped_at:
            self._jumped_at = self._clock.jumped_at
            self._amnesty_until = now + self._rules.lease_seconds + JUMP_SECONDS
            log.warning("Redis's clock has jumped; leases are not judged for a while")
        elif self._amnesty_until - now > self._rules.lease_seconds + JUMP_SECONDS:
            self._amnesty_until = now
        return now < self._amnesty_until

    def _reaped(self, now: float) -> list[Decision]:
        mirror, rules = self._mirror, self._rules
        jobs = sorted(mirror.jobs.values(), key=lambda job: job.id)
        validating = {job.id for job in jobs if job.state is JobState.VALIDATING}
        self._prepares = {k: sent for k, sent in self._prepares.items() if k in validating}
        return [
            *reap_prepares(jobs, self._prepares, now, rules),
            *reap_rounds(mirror.rounds, mirror.workers, now, rules),
            *reap_leases(jobs, mirror.workers, now, rules),
        ]

    def _apply(self, plan: Plan, now: float) -> None:
        """Carry a plan out, round by round."""
        mirror, cluster = self._mirror, self.cluster
        cluster.note_reservations(plan.released, plan.reserved)
        decisions: list[Decision] = []
        for leave in plan.leaves:
            job = mirror.jobs[leave.job_id]
            assert job.lease is not None
            why = Yield(leave.cause, leave.reason)
            decisions.append(AskToLeave(job.id, job.epoch, job.lease, why))
            self._metrics.preemptions.labels(leave.cause.value).inc()
        decisions += renewals(cluster, mirror.jobs, mirror.rounds, now, self._rules)
        decisions += next_rounds(
            cluster, plan, mirror.jobs, mirror.workers, mirror.rounds, self._predict
        )
        try:
            self._carry_out(decisions, now)
        finally:
            # A join that did not come about is decided anew.
            wanted = [join.job_id for join in plan.joins]
            for join, found in zip(plan.joins, self._store.get_jobs(wanted), strict=True):
                if found is None or found.lease is None:
                    cluster.fresh.add(join.job_id)
                    cluster.dirty.add(join.worker_id)

    def _carry_out(self, decisions: list[Decision], now: float) -> None:
        for decision in decisions:
            placed = self._executor.execute(decision)
            if isinstance(decision, PlaceRound):
                wanted = len(decision.joining)
                self._metrics.placements.labels("placed").inc(placed)
                self._metrics.placements.labels("overtaken").inc(wanted - placed)
            elif isinstance(decision, Reprepare):
                count = self._prepares.get(decision.job_id, PrepareSends(0, now)).count + 1
                self._prepares[decision.job_id] = PrepareSends(count, now)

    def _halve(self) -> None:
        """Stop the losers of sweeps, and park those that wait for a rung."""
        for tenant, group in sorted(self._mirror.take_changed_sweeps()):
            for decision in halve(self._store.jobs_of_group(tenant, group)):
                self._executor.execute(decision)
