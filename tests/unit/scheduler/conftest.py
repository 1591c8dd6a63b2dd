import pytest
from scheduling import SchedulerBench

from pando_shared.clock import FakeClock
from pando_shared.storage import Storage


@pytest.fixture
def bench(clock: FakeClock, storage: Storage) -> SchedulerBench:
    return SchedulerBench(clock, storage)
