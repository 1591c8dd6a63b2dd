"""What training takes of the memory, measured on a base that has just been loaded."""

from __future__ import annotations

import logging
import time

import numpy as np

from pando_kernels.plan import AdapterSet
from pando_shared.calibrating import PROBE_ADAPTER, PROBE_RECOMPUTE
from pando_shared.catalogue import BaseModel as BaseShape
from pando_shared.errors import PandoError
from pando_shared.memory import footprint
from pando_shared.reports import Probe
from pando_shared.room import room_on
from pando_shared.workers import Worker
from pando_worker.engine.adapters import Adapter, build_adapter
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.device import is_usable, peak_bytes, release_cached, reset_peak
from pando_worker.engine.engine import Engine
from pando_worker.engine.microbatch import run_microbatch
from pando_worker.engine.packed_batch import Share, TokensAndTargets

log = logging.getLogger(__name__)

_FEWEST_TOKENS = 64
_SEQUENCE_TOKENS = 512
#: The larger microbatch has this many times the tokens of the smaller.
_SPREAD = 4
#: A microbatch that takes longer is not made larger, and one of the fewest tokens not repeated.
_LONGEST_SECONDS = 0.25
#: What a probe may take of the budget, by prediction: nothing is known yet of how good that is.
_BUDGET_SHARE = 0.8


def probe(engine: Engine, worker: Worker, shape: BaseShape) -> Probe | None:
    """Peaks of one small adapter's microbatches at two sizes: a quarter of the worker's and a whole
    one, or smaller ones where the device is slow or memory tight. None: not even these will do.

    The adapter is thrown away; base and engine are as before.
    """
    before = engine.recompute
    engine.recompute = PROBE_RECOMPUTE
    try:
        return _probe(engine.base, worker, shape)
    except (RuntimeError, MemoryError, OSError, PandoError):
        if not is_usable():
            raise
        log.exception("base model %s cannot be probed", shape.name)
        return None
    finally:
        engine.recompute = before
        release_cached(worker.device)


def _probe(base: BaseModel, worker: Worker, shape: BaseShape) -> Probe | None:
    most = _affordable_tokens(worker, shape) // _SPREAD
    if most < _FEWEST_TOKENS:
        return None
    adapter = build_adapter(base, PROBE_ADAPTER, seed=0)
    tokens = _FEWEST_TOKENS
    _train(base, adapter, tokens)  # loads and compiles what there is
    seconds = _train(base, adapter, tokens)
    if seconds > _LONGEST_SECONDS:
        return None
    while tokens < most and 2 * seconds <= _LONGEST_SECONDS:
        tokens = min(2 * tokens, most)
        seconds = _train(base, adapter, tokens)
    sizes = tokens, _SPREAD * tokens
    peaks = tuple(_peak(base, adapter, size, worker.device) for size in sizes)
    return Probe(shape.name, sizes, (peaks[0], peaks[1]))


def _affordable_tokens(worker: Worker, shape: BaseShape) -> int:
    """The largest microbatch, up to the worker's own, that is surely no trouble."""
    room = room_on(worker, shape)
    taken = footprint(shape, PROBE_ADAPTER, worker.base_format, worker.device)
    tokens = room.tokens
    while room.peak_bytes(taken, PROBE_RECOMPUTE, tokens) > _BUDGET_SHARE * worker.budget_bytes:
        tokens //= 2
        if tokens < _SPREAD * _FEWEST_TOKENS:
            return 0
    return tokens


def _peak(base: BaseModel, adapter: Adapter, tokens: int, device: str) -> int:
    release_cached(device)
    reset_peak(device)
    _train(base, adapter, tokens)
    return peak_bytes(device)


def _train(base: BaseModel, adapter: Adapter, tokens: int) -> float:
    """Seconds of one microbatch. Its losses are read, so all of it has been done by then."""
    share = Share(0, _random_sequences(tokens, base.head.weight.shape[0]), 1.0 / tokens)
    began = time.perf_counter()
    run_microbatch(base, AdapterSet((adapter.layers,)), [share], train=True)
    return time.perf_counter() - began


def _random_sequences(tokens: int, vocab_size: int) -> list[TokensAndTargets]:
    rng = np.random.default_rng(0)
    sequences: list[TokensAndTargets] = []
    while tokens > 0:
        length = min(tokens, _SEQUENCE_TOKENS)
        targets = np.ones(length, bool)
        targets[0] = False
        sequences.append((rng.integers(0, vocab_size, length), targets))
        tokens -= length
    return sequences
