"""Every message of a round arrives twice, as brokers that deliver at least once may have it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chaos.cluster import Cluster
from pando_shared.errors import Unavailable
from pando_shared.store.messages import CeleryMessenger, make_celery
from pando_shared.store.redis import RedisStore

_LOOK_SECONDS = 0.1


@contextmanager
def sending_twice(cluster: Cluster) -> Iterator[None]:
    """For as long as this is entered, rounds' messages are sent once more."""
    ending = threading.Event()
    thread = threading.Thread(target=_repeat, args=(cluster, ending), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _repeat(cluster: Cluster, ending: threading.Event) -> None:
    store = RedisStore(cluster.redis_url)
    celery = make_celery(cluster.redis_url)
    messenger = CeleryMessenger(celery)
    sent: set[str] = set()
    try:
        while not ending.wait(_LOOK_SECONDS):
            for planned in store.rounds():
                if planned.id not in sent:
                    messenger.round(planned.worker_id, planned.id)
                    sent.add(planned.id)
    except Unavailable:
        return  # whatever is broken besides: there is nothing to repeat
    finally:
        celery.close()
        store.close()
