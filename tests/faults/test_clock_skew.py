"""A host whose wall clock is wrong: leases go by Redis's time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos.clock_skew import set_skew, skew_environment

_TELL = """
import json, sys, time
from pando_shared.store.redis.clock import RedisClock, time_of
clock = RedisClock(time_of(sys.argv[1]))
print(json.dumps({"wall": time.time(), "shared": clock.now()}))
"""


@pytest.mark.parametrize("seconds", [-300.0, 300.0])
def test_five_minutes_do_not_matter(redis_url: str, tmp_path: Path, seconds: float) -> None:
    set_skew(tmp_path / "skew", seconds)
    done = subprocess.run(
        [sys.executable, "-c", _TELL, redis_url],
        env={**os.environ, **skew_environment(tmp_path / "skew")},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    now = time.time()
    assert told["wall"] - now == pytest.approx(seconds, abs=2.0)
    assert told["shared"] == pytest.approx(now, abs=2.0)
