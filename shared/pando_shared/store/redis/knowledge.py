"""What the scheduler is told, learns and foresees, in Redis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline

from pando_shared.codec import decode, encode
from pando_shared.forecasts import Forecast, Usage
from pando_shared.reports import RoundReport
from pando_shared.store.redis import keys
from pando_shared.store.redis.client import transact
from pando_shared.store.redis.readable import readable
from pando_shared.store.values import REPORTS_KEPT


class RedisKnowledge:
    """The part of `RedisStore` that knows reports, what was learnt of them, usage and forecasts."""

    def __init__(self, redis: Redis):
        self._redis = redis

    def push_report(self, report: RoundReport) -> None:
        with self._redis.pipeline() as pipe:
            pipe.rpush(keys.REPORTS, encode(report))
            pipe.ltrim(keys.REPORTS, -REPORTS_KEPT, -1)
            pipe.execute()

    def take_reports(self, limit: int = 1000) -> list[RoundReport]:
        if limit < 1:
            return []

        def body(pipe: Pipeline) -> list[bytes]:
            texts: Any = pipe.lrange(keys.REPORTS, 0, limit - 1)
            if texts:
                pipe.multi()
                pipe.ltrim(keys.REPORTS, len(texts), -1)
            return list(texts)

        # LPOP would lose the reports if its answer were lost and the client asked again.
        return readable(RoundReport, transact(self._redis, [keys.REPORTS], body))

    def put_learnt(self, key: str, text: str) -> None:
        self._redis.hset(keys.LEARNT, key, text)

    def learnt(self) -> dict[str, str]:
        texts: Any = self._redis.hgetall(keys.LEARNT)
        return {key.decode(): text.decode() for key, text in texts.items()}

    def put_usage(self, usages: Iterable[Usage]) -> None:
        texts: Any = {usage.tenant: encode(usage) for usage in usages}
        if texts:
            self._redis.hset(keys.USAGE, mapping=texts)

    def usage(self) -> dict[str, Usage]:
        texts: Any = self._redis.hgetall(keys.USAGE)
        return {tenant.decode(): decode(Usage, text) for tenant, text in texts.items()}

    def put_forecasts(self, forecasts: Iterable[Forecast]) -> None:
        texts: Any = {forecast.job_id: encode(forecast) for forecast in forecasts}
        if texts:
            self._redis.hset(keys.FORECASTS, mapping=texts)

    def drop_forecasts(self, job_ids: Iterable[str]) -> None:
        ended = list(job_ids)
        if ended:
            self._redis.hdel(keys.FORECASTS, *ended)

    def forecasts(self, job_ids: Sequence[str]) -> list[Forecast | None]:
        if not job_ids:
            return []
        texts: Any = self._redis.hmget(keys.FORECASTS, list(job_ids))
        return [None if text is None else decode(Forecast, text) for text in texts]

    def all_forecasts(self) -> list[Forecast]:
        texts: Any = self._redis.hvals(keys.FORECASTS)
        return sorted((decode(Forecast, text) for text in texts), key=lambda f: f.job_id)
