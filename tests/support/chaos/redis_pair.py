"""A Redis and its replica, either of which may become the other."""

from __future__ import annotations

import time
from pathlib import Path

from redis import Redis
from redis_process import RedisProcess

#: As a stack of users' has it: the disk is asked once a second, a killed process loses nothing.
_OPTIONS = ("--appendfsync", "everysec", "--maxmemory-policy", "noeviction")
_SYNC_SECONDS = 20.0


class RedisPair:
    """`primary` takes the writes; `replica` follows it."""

    def __init__(self, folder: Path):
        for name in ("one", "other"):
            (folder / name).mkdir(parents=True)
        self.primary = RedisProcess(folder / "one", *_OPTIONS)
        self.replica = RedisProcess(folder / "other", *_OPTIONS)

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        self._follow()

    def stop(self) -> None:
        self.replica.kill()
        self.primary.kill()

    def client(self) -> Redis:
        """Straight to the primary, past every proxy."""
        return Redis.from_url(self.primary.url)

    def fail_over(self) -> int:
        """The primary dies, and the replica, which takes its place, knows all that it knew. Returns
        the new primary's port. `rejoin` brings the dead one back."""
        self.wait_for_replica()
        self.primary.kill()
        self.primary, self.replica = self.replica, self.primary
        with self.client() as client:
            client.replicaof("NO", "ONE")
        return self.primary.port

    def rejoin(self) -> None:
        self.replica.start()
        self._follow()

    def wait_for_replica(self) -> None:
        """Raises TimeoutError if the replica cannot keep up."""
        deadline = time.monotonic() + _SYNC_SECONDS
        with Redis.from_url(self.replica.url) as client:
            while client.info("replication")["master_link_status"] != "up":
                if time.monotonic() > deadline:
                    raise TimeoutError("the replica does not come up with the primary")
                time.sleep(0.05)

    def fill(self) -> None:
        """No write is taken any more."""
        with self.client() as client:
            client.config_set("maxmemory", max(1, int(client.info("memory")["used_memory"]) // 2))

    def make_room(self) -> None:
        with self.client() as client:
            client.config_set("maxmemory", 0)

    def _follow(self) -> None:
        with Redis.from_url(self.replica.url) as client:
            client.replicaof("127.0.0.1", str(self.primary.port))
        self.wait_for_replica()
