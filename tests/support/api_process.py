"""The API in a process of its own, over a store in memory: `python api_process.py HOME KEY`.

Prints its port once it listens. For tests that measure the process itself.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn

from pando_api.app import create_app
from pando_shared.api_keys import digest
from pando_shared.clock import SystemClock
from pando_shared.records import ApiKey
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore


def main(home: Path, secret: str) -> None:
    store = StubStore()
    store.put_key(ApiKey("key-1", "acme", "test", digest(secret), secret[:4], 0.0))
    storage = Storage(f"file://{home}/storage")
    app = create_app(Settings(), store, storage, StubMessenger(), {}, SystemClock())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
