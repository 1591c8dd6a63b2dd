"""What the scheduler has learnt, kept in the store: predictions, tenants' use, reservations.

Whoever leads next goes on from there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict

from pando_scheduler.cluster import Cluster
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.mirror import Mirror
from pando_scheduler.picture import Reservation
from pando_shared.calibrating import observe, observe_probe
from pando_shared.calibration import Calibration, calibration_key, read_calibration
from pando_shared.codec import encode
from pando_shared.reports import RoundReport
from pando_shared.speed import SpeedModel, read_speed, speed_key
from pando_shared.speed_learning import observe_speed
from pando_shared.store import Store

log = logging.getLogger(__name__)

_RESERVATIONS = "reservations"
#: How often what has changed is written down.
_KEEP_SECONDS = 5.0
#: Decisions go by what was learnt after this long: everything is looked at anew each time.
_TELL_SECONDS = 10.0
#: By this share a figure must have moved for that, and by more than this at all.
_MOVED = 0.02
_ROUNDING = 0.002

#: A base, and a kind of device.
Key = tuple[str, str]
#: All that decisions go by, of a base on a kind of device.
Figures = Mapping[Key, tuple[float, ...]]


class Knowledge:
    """Learns from workers' reports, tells the predictor, and keeps all of it in the store."""

    def __init__(self, store: Store, cluster: Cluster, predict: LearntPredictor, mirror: Mirror):
        self._store, self._cluster, self._mirror = store, cluster, mirror
        self._predict = predict
        self.calibrations: dict[Key, Calibration] = {}
        self.speeds: dict[Key, SpeedModel] = {}
        self._kept_at = self._told_at = float("-inf")
        #: What decisions go by.
        self._told: Figures = {}
        #: Of `_texts`, what the store does not have yet.
        self._unwritten: set[str] = set()
        self._reserved: dict[str, Reservation] = {}
        self._texts: dict[str, str] = {}

    def recall(self, now: float) -> None:
        """Go on from what the store has."""
        self._texts = self._store.learnt()
        for name in self._texts:
            kind, _, rest = name.partition("|")
            base_model, _, device_kind = rest.partition("|")
            if kind == "memory":
                self._calibration((base_model, device_kind))
            elif kind == "speed":
                self._speed((base_model, device_kind))
        self._predict.learn(dict(self.calibrations), dict(self.speeds))
        self._cluster.accounts.recall(self._store.usage(), now)
        self._cluster.note_reservations((), self._recalled_reservations())
        self._reserved = dict(self._cluster.reservations)

    def _recalled_reservations(self) -> list[Reservation]:
        """What another version wrote in a form that is not understood is made anew."""
        try:
            rows = json.loads(self._texts.get(_RESERVATIONS, "[]"))
            return [Reservation(**fields) for fields in rows]
        except (TypeError, ValueError):
            log.warning("the reservations that are kept cannot be read; they are made anew")
            return []

    def learn(self, now: float) -> None:
        """Take in reports of rounds, and probes of bases that workers have loaded."""
        self._learn_probes()
        for report in self._store.take_reports():
            self._learn_round(report)
        if 0 <= now - self._told_at < _TELL_SECONDS:
            return
        self._told_at = now
        figures = self._figures()
        if _have_moved(self._told, figures):
            self._told = figures
            self._predict.learn(dict(self.calibrations), dict(self.speeds))
            self._mirror.view_again(now)

    def _figures(self) -> Figures:
        figures: dict[Key, tuple[float, ...]] = {}
        for key, found in self.calibrations.items():
            headroom = found.headroom(self._predict.start_headroom)
            figures[key] = (found.lora, found.paca, found.meft, found.step, headroom, found.margin)
        for key, speed in self.speeds.items():
            known = (speed.tokens_per_second, speed.floor_seconds, speed.alone_share)
            costs = (speed.interference, speed.paca_cost, speed.meft_cost)
            figures[key] = (*figures.get(key, ()), *known, *costs)
        return figures

    def keep(self, now: float) -> None:
        """Write down what has changed, now and then."""
        reservations = self._cluster.reservations
        if reservations != self._reserved:
            self._reserved = dict(reservations)
            rows = [asdict(found) for _, found in sorted(reservations.items())]
            self._store.put_learnt(_RESERVATIONS, json.dumps(rows))
        if 0 <= now - self._kept_at < _KEEP_SECONDS:
            return
        self._kept_at = now
        for name in sorted(self._unwritten):
            self._store.put_learnt(name, self._texts[name])
        self._unwritten.clear()
        self._store.put_usage(self._cluster.accounts.usages(now))

    def _learn_probes(self) -> None:
        for worker in self._mirror.workers.values():
            if worker.probe is None or worker.id not in self._cluster.workers:
                continue
            base = self._predict.catalogue.get(worker.probe.base_model)
            if base is None:
                continue
            key = (base.name, worker.device_kind)
            before = self._calibration(key)
            after = observe_probe(before, worker, base)
            if after != before:
                self._put_calibration(key, after)

    def _learn_round(self, report: RoundReport) -> None:
        self._mirror.caps.observe(report)
        base = self._predict.catalogue.get(report.base_model)
        worker = self._mirror.workers.get(report.worker_id)
        if base is None or worker is None or worker.incarnation != report.incarnation:
            return
        key = (report.base_model, report.device)
        self._put_calibration(key, observe(self._calibration(key), report, worker, base))
        speed = observe_speed(self._speed(key), report)
        self.speeds[key] = speed
        self._put(speed_key(*key), encode(speed).decode())

    def _calibration(self, key: Key) -> Calibration:
        if key not in self.calibrations:
            self.calibrations[key] = read_calibration(self._texts, *key)
        return self.calibrations[key]

    def _speed(self, key: Key) -> SpeedModel:
        if key not in self.speeds:
            self.speeds[key] = read_speed(self._texts, *key)
        return self.speeds[key]

    def _put_calibration(self, key: Key, calibration: Calibration) -> None:
        self.calibrations[key] = calibration
        self._put(calibration_key(*key), encode(calibration).decode())

    def _put(self, name: str, text: str) -> None:
        self._texts[name] = text
        self._unwritten.add(name)


def _have_moved(told: Figures, now: Figures) -> bool:
    """Whether a figure differs from what decisions go by by enough to look at everything anew."""
    if told.keys() != now.keys():
        return True
    return any(
        len(told[key]) != len(figures)
        or any(
            abs(new - old) > max(_MOVED * abs(old), _ROUNDING)
            for old, new in zip(told[key], figures, strict=True)
        )
        for key, figures in now.items()
    )
