"""The real API on a real port, over a store in memory and a pretend cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from pretend_cluster import PretendCluster
from stack_access import Stack

from pando_api.app import create_app
from pando_shared.api_keys import new_api_key
from pando_shared.catalogue import BaseModel, Linear
from pando_shared.clock import SystemClock
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.stub import StubStore

BASE = BaseModel(
    name="tiny",
    path="nowhere",
    hidden_size=64,
    intermediate_size=128,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    vocab_size=512,
    max_positions=256,
    weight_bytes=400_000,
    parameters=100_000,
    linears=(Linear("q_proj", 64, 64, 2), Linear("v_proj", 64, 32, 2)),
    tied=True,
)


@contextmanager
def pretend_stack(home: Path) -> Iterator[Stack]:
    """Runs until the block ends."""
    store, storage, clock = StubStore(), Storage(f"file://{home}/storage"), SystemClock()
    secret, key = new_api_key("acme", "test", clock.now())
    store.put_key(key)
    with PretendCluster(store, storage, clock, BASE.name) as cluster:
        app = create_app(Settings(), store, storage, cluster, {BASE.name: BASE}, clock)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run, name="pretend-api")
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Stack(f"http://127.0.0.1:{port}", secret, BASE.name)
        server.should_exit = True
        thread.join()
