"""What stands between a process and Redis: a network that can be slow, cut, or silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

from redis_process import free_port

_CHUNK_BYTES = 1 << 16


class Network:
    """A thread that runs any number of proxies. A context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._proxies: list[TcpProxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies:
            self.call(proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the network's thread, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    def proxy(self, target_port: int) -> TcpProxy:
        """A new one, on a port of its own, that leads to a port of this machine."""
        proxy = TcpProxy(self, target_port)
        self.call(proxy.open())
        self._proxies.append(proxy)
        return proxy


class TcpProxy:
    """Listens on `port`. All methods but `open` and `close` may be called from any thread."""

    def __init__(self, network: Network, target_port: int):
        self.port = free_port()
        self._network = network
        self._target_port = target_port
        self._delay_seconds = 0.0
        self._refuses = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._drop_all()

    def lead_to(self, port: int) -> None:
        """New connections go to another port; those there are end."""

        def change() -> None:
            self._target_port = port

        self._network.call(self._change(change, drop=True))

    def delay(self, seconds: float) -> None:
        """Whatever is sent arrives later by so much, in each direction. 0: at once again."""

        def change() -> None:
            self._delay_seconds = seconds

        self._network.call(self._change(change, drop=False))

    def cut(self) -> None:
        """All connections end, and none is accepted."""

        def change() -> None:
            self._refuses = True

        self._network.call(self._change(change, drop=True))

    def silence(self) -> None:
        """Nothing arrives any more, and nobody is told: what a partition looks like. Whatever is
        sent meanwhile arrives after `heal`."""
        self._network.call(self._change(self._flowing.clear, drop=False))

    def heal(self) -> None:
        def change() -> None:
            self._refuses = False
            self._delay_seconds = 0.0
            self._flowing.set()

        self._network.call(self._change(change, drop=False))

    def reset_connections(self) -> None:
        """All connections end; new ones are welcome."""
        self._network.call(self._drop_all())

    async def _change(self, change: Callable[[], None], drop: bool) -> None:
        change()
        if drop:
            await self._drop_all()

    async def _drop_all(self) -> None:
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if not self._refuses:
                await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the end of a connection, however it came, is an end for both sides
        finally:
            self._connections.discard(task)
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            ways = (
                asyncio.ensure_future(self._pump(reader, far_writer)),
                asyncio.ensure_future(self._pump(far_reader, writer)),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await asyncio.sleep(self._delay_seconds)
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()
