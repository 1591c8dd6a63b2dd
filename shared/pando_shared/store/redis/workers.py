"""Workers and the rounds planned for them, in Redis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from redis import Redis
from redis.client import Pipeline

from pando_shared.codec import decode, encode
from pando_shared.store.order import oldest_first
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import transact
from pando_shared.store.redis.readable import readable
from pando_shared.store.redis.signals import wake
from pando_shared.workers import Round, Worker


class RedisWorkers:
    """The part of `RedisStore` that knows workers and rounds."""

    def __init__(self, redis: Redis):
        self._redis = redis

    def put_worker(self, worker: Worker) -> None:
        self._redis.hset(keys.WORKERS, worker.id, encode(worker))

    def list_workers(self) -> list[Worker]:
        texts: Any = self._redis.hvals(keys.WORKERS)
        return sorted(readable(Worker, texts), key=lambda worker: worker.id)

    def remove_worker(self, worker_id: str) -> None:
        self._redis.hdel(keys.WORKERS, worker_id)

    def set_draining(self, worker_id: str, since: float | None) -> None:
        with self._redis.pipeline() as pipe:
            if since is None:
                pipe.hdel(keys.DRAINING, worker_id)
            else:
                pipe.hset(keys.DRAINING, worker_id, repr(float(since)))
            wake(pipe)
            pipe.execute()

    def draining(self) -> dict[str, float]:
        times: Any = self._redis.hgetall(keys.DRAINING)
        return {worker_id.decode(): float(since) for worker_id, since in times.items()}

    def plan_round(self, planned: Round) -> None:
        with self._redis.pipeline() as pipe:
            pipe.hset(keys.ROUNDS, planned.id, encode(planned))
            pipe.sadd(keys.rounds_of(planned.worker_id), planned.id)
            pipe.execute()

    def begin_round(
        self, round_id: str, worker_id: str, incarnation: str, now: float
    ) -> Round | None:
        def body(pipe: Pipeline) -> Round | None:
            planned = self._round(pipe, round_id)
            if planned is None:
                return None
            mine = (planned.worker_id, planned.incarnation) == (worker_id, incarnation)
            if not mine or planned.started_at is not None:
                return None
            begun = replace(planned, started_at=now)
            pipe.multi()
            pipe.hset(keys.ROUNDS, round_id, encode(begun))
            wake(pipe)
            return begun

        return transact(self._redis, [keys.ROUNDS], body)

    def withdraw_round(self, round_id: str) -> bool:
        def body(pipe: Pipeline) -> bool:
            planned = self._round(pipe, round_id)
            if planned is None or planned.started_at is not None:
                return False
            pipe.multi()
            _forget(pipe, planned)
            return True

        return transact(self._redis, [keys.ROUNDS], body)

    def end_round(self, round_id: str) -> None:
        def body(pipe: Pipeline) -> None:
            planned = self._round(pipe, round_id)
            pipe.multi()
            if planned is not None:
                _forget(pipe, planned)
            wake(pipe)

        transact(self._redis, [keys.ROUNDS], body)

    def _round(self, pipe: Pipeline, round_id: str) -> Round | None:
        text: Any = pipe.hget(keys.ROUNDS, round_id)
        return None if text is None else decode(Round, text)

    def rounds_of(self, worker_id: str) -> list[Round]:
        ids: Any = self._redis.smembers(keys.rounds_of(worker_id))
        if not ids:
            return []
        texts: Any = self._redis.hmget(keys.ROUNDS, sorted(ids))
        found = (decode(Round, text) for text in texts if text is not None)
        return oldest_first(planned for planned in found if planned.worker_id == worker_id)

    def rounds(self) -> list[Round]:
        texts: Any = self._redis.hvals(keys.ROUNDS)
        return oldest_first(decode(Round, text) for text in texts)


def _forget(pipe: Pipeline, planned: Round) -> None:
    pipe.hdel(keys.ROUNDS, planned.id)
    pipe.srem(keys.rounds_of(planned.worker_id), planned.id)
