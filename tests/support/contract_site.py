"""The API that its own document is held against: a site in memory that starts anew each time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import schemathesis
from factories import make_worker
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    negative_data_rejection,
    positive_data_acceptance,
)

from pando_api.app import create_app
from pando_shared.api_keys import digest
from pando_shared.catalogue import read_base_model
from pando_shared.clock import FakeClock
from pando_shared.records import ApiKey
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore

TINY = Path(__file__).resolve().parents[2] / "models" / "tiny-base"
KEY = "sk-pando-contract"
HEADERS = {"Authorization": f"Bearer {KEY}"}


def not_held(case: schemathesis.Case) -> list[Any]:
    """Checks that a request is no matter for.

    A document says how a request looks, and not which files, models and states there are. And a
    query may hold what we do not know: it is passed over, as clients expect; of a parameter that it
    holds several times, the last counts. A model's name may end in "/content", so that such a path
    can be deleted though no document can say so.
    """
    query = case.query or {}
    definition = case.operation.definition.raw
    known = {each["name"] for each in definition.get("parameters", ()) if each["in"] == "query"}
    strange = query.keys() - known
    repeated = any(not isinstance(value, str | int | float | None) for value in query.values())
    excluded = [positive_data_acceptance]
    if strange or repeated:
        excluded.append(negative_data_rejection)
    if case.operation.path == "/v1/models/{model}/content":
        excluded.append(allow_header_conformance)
    return excluded


class Site:
    """One application; `restart` takes it back to where it began."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._clock = FakeClock()
        self._store = StubStore(self._clock)
        self._settings = Settings(
            max_upload_bytes=10_000,
            sample_timeout_seconds=0.05,
            dtype="float32",
            # Wrong keys by the hundred are to be told so, on a clock that stands still.
            failed_logins_per_minute=0,
        )
        self.app = create_app(
            self._settings,
            self._store,
            Storage(f"file://{folder}"),
            StubMessenger(),
            {"tiny": read_base_model("tiny", TINY)},
            self._clock,
        )
        self.schema = schemathesis.openapi.from_asgi("/openapi.json", self.app)
        self.restart()

    def restart(self) -> None:
        StubStore.__init__(self._store, self._clock)
        shutil.rmtree(self._folder, ignore_errors=True)
        now = self._clock.now()
        self._store.put_key(ApiKey("key-1", "acme", "contract", digest(KEY), "sk", now))
        self._store.put_worker(make_worker(budget_bytes=1 << 40, heartbeat_at=now))


@contextmanager
def counted_ids() -> Iterator[None]:
    """Ids are drawn by chance; what hypothesis runs again must find the same ones."""
    numbers = count()
    with mock.patch("secrets.token_hex", lambda size: f"{next(numbers):0{2 * size}x}"):
        yield
