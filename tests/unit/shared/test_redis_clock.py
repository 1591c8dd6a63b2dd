"""Redis's clock as a process sees it, by two time sources that the test owns."""

from __future__ import annotations

import threading
import time

import pytest
from redis_process import RedisProcess, free_port

from pando_shared.clock import JumpingClock
from pando_shared.errors import Unavailable
from pando_shared.store.redis.clock import RedisClock, time_of

START = 1_700_000_000.0


class Sources:
    """A Redis and a monotonic clock. `ahead` is by how much Redis runs ahead of true time."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.ahead = 0.0
        self.away = False
        self.round_trip = 0.0
        self.asked = 0

    def redis_time(self) -> float:
        self.asked += 1
        if self.away:
            raise Unavailable("Redis does not tell the time")
        self.passed += self.round_trip / 2
        told = START + self.passed + self.ahead
        self.passed += self.round_trip / 2
        return told

    def monotonic(self) -> float:
        return 77.0 + self.passed


@pytest.fixture
def sources() -> Sources:
    return Sources()


@pytest.fixture
def redis_clock(sources: Sources) -> RedisClock:
    return RedisClock(sources.redis_time, sources.monotonic, sync_seconds=10.0)


def test_it_tells_redis_time_and_goes_on_by_itself(
    sources: Sources, redis_clock: RedisClock
) -> None:
    clock: JumpingClock = redis_clock
    assert clock.now() == START
    for _ in range(20):
        sources.passed += 0.25
        assert clock.now() == START + sources.passed
    assert sources.asked == 1
    assert clock.jumped_at is None


def test_it_looks_again_at_intervals(sources: Sources, redis_clock: RedisClock) -> None:
    for second in range(35):
        sources.passed = float(second)
        redis_clock.now()
    assert sources.asked == 4


def test_half_of_the_round_trip_has_passed_since_redis_answered(
    sources: Sources, redis_clock: RedisClock
) -> None:
    sources.round_trip = 0.4
    assert redis_clock.now() == pytest.approx(START + 0.4)


def test_the_local_wall_clock_does_not_matter(
    sources: Sources, redis_clock: RedisClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wall_clock() -> float:
        raise AssertionError("the wall clock was read")

    monkeypatch.setattr(time, "time", wall_clock)
    sources.passed = 12.0
    assert redis_clock.now() == START + 12.0


def test_a_small_drift_forward_is_taken_over(sources: Sources, redis_clock: RedisClock) -> None:
    redis_clock.now()
    sources.ahead = 1.5
    sources.passed = 9.0
    assert redis_clock.now() == START + 9.0
    sources.passed = 10.0
    assert redis_clock.now() == START + 11.5
    assert redis_clock.jumped_at is None


def test_it_stands_still_rather_than_go_back_a_little(
    sources: Sources, redis_clock: RedisClock
) -> None:
    redis_clock.now()
    sources.passed = 9.5
    assert redis_clock.now() == START + 9.5
    sources.ahead, sources.passed = -1.5, 10.0
    assert redis_clock.now() == START + 9.5
    sources.passed = 10.75
    assert redis_clock.now() == START + 9.5
    sources.passed = 11.25
    assert redis_clock.now() == START + 9.75
    assert redis_clock.jumped_at is None


@pytest.mark.parametrize("jump", [-3600.0, -2.5, 2.5, 3600.0])
def test_a_jump_is_followed_at_once_and_told(
    sources: Sources, redis_clock: RedisClock, jump: float
) -> None:
    redis_clock.now()
    sources.ahead, sources.passed = jump, 10.0
    assert redis_clock.now() == START + 10.0 + jump
    assert redis_clock.jumped_at == START + 10.0 + jump
    sources.passed = 25.0
    assert redis_clock.now() == START + 25.0 + jump
    assert redis_clock.jumped_at == START + 10.0 + jump


def test_each_jump_is_told(sources: Sources, redis_clock: RedisClock) -> None:
    redis_clock.now()
    sources.ahead, sources.passed = 100.0, 10.0
    redis_clock.now()
    sources.ahead, sources.passed = 0.0, 20.0
    assert redis_clock.now() == redis_clock.jumped_at == START + 20.0


def test_an_outage_is_bridged(sources: Sources, redis_clock: RedisClock) -> None:
    redis_clock.now()
    sources.away = True
    for second in range(100):
        sources.passed = float(second)
        assert redis_clock.now() == START + second
    # Not with every call, which may take a second each.
    assert sources.asked == 10
    sources.away, sources.ahead, sources.passed = False, 50.0, 200.0
    assert redis_clock.now() == redis_clock.jumped_at == START + 250.0


def test_without_any_answer_there_is_no_time(sources: Sources, redis_clock: RedisClock) -> None:
    sources.away = True
    with pytest.raises(Unavailable):
        redis_clock.now()
    sources.away = False
    assert redis_clock.now() == START


def test_a_slow_answer_is_no_jump(sources: Sources, redis_clock: RedisClock) -> None:
    redis_clock.now()
    sources.passed, sources.round_trip, sources.ahead = 10.0, 8.0, 3.0
    assert redis_clock.now() == START + 18.0
    assert redis_clock.jumped_at is None


def test_nobody_waits_while_one_thread_looks(sources: Sources) -> None:
    looking, answer = threading.Event(), threading.Event()

    def slow_redis_time() -> float:
        if sources.asked:
            looking.set()
            assert answer.wait(10)
        return sources.redis_time()

    clock = RedisClock(slow_redis_time, sources.monotonic)
    clock.now()
    sources.passed = 10.0
    sources.ahead = 1.0
    thread = threading.Thread(target=clock.now)
    thread.start()
    assert looking.wait(10)
    assert clock.now() == START + 10.0
    answer.set()
    thread.join()
    assert clock.now() == START + 11.0
    assert sources.asked == 2


def test_no_thread_sees_time_go_back() -> None:
    lock, ticks = threading.Lock(), [0]

    def monotonic() -> float:
        with lock:
            ticks[0] += 1
            return ticks[0] * 0.01

    def redis_time() -> float:
        # Off by up to a second, to either side.
        return START + monotonic() + (-1) ** ticks[0]

    clock = RedisClock(redis_time, monotonic, sync_seconds=0.1)
    backward: list[float] = []

    def read() -> None:
        latest = clock.now()
        for _ in range(500):
            now = clock.now()
            backward.extend([now - latest] if now < latest else [])
            latest = now

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backward == []
    assert clock.jumped_at is None


def test_a_real_redis_tells_the_time(redis_url: str) -> None:
    before = time.time()
    now = RedisClock(time_of(redis_url)).now()
    # This machine's clock may be set in between, by a little.
    assert before - 1.0 <= now <= time.time() + 1.0


def test_a_real_redis_goes_and_comes(redis_process: RedisProcess, redis_url: str) -> None:
    told = time_of(redis_url)
    first = told()
    redis_process.kill()
    try:
        with pytest.raises(Unavailable, match="does not tell the time"):
            told()
    finally:
        redis_process.start()
    assert told() > first - 1.0


def test_no_redis_at_all() -> None:
    with pytest.raises(Unavailable):
        RedisClock(time_of(f"redis://127.0.0.1:{free_port()}/0")).now()
