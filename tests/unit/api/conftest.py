"""The API over a store in memory, with two tenants at its door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_api.app import create_app
from pando_shared.api_keys import new_api_key
from pando_shared.catalogue import BaseModel, Linear
from pando_shared.clock import FakeClock
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore

ClientFor = Callable[[str], TestClient]


@pytest.fixture
def store(clock: FakeClock) -> StubStore:
    """In memory only: what the API asks of a store, every store does alike."""
    return StubStore(clock)


@pytest.fixture
def messenger() -> StubMessenger:
    return StubMessenger()


@pytest.fixture
def settings() -> Settings:
    return Settings(max_upload_bytes=10_000, sample_timeout_seconds=0.05, dtype="float32")


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    """A Llama of two layers, four wide where it matters."""
    linears = (Linear("q_proj", 64, 64, 2), Linear("v_proj", 64, 32, 2), Linear("down", 128, 64, 2))
    return BaseModel(
        name="tiny",
        path=str(tmp_path / "model"),
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
        linears=linears,
        tied=True,
    )


@pytest.fixture
def catalogue(base: BaseModel) -> Mapping[str, BaseModel]:
    return {"tiny": base, "org/with-slash": replace(base, name="org/with-slash")}


@pytest.fixture
def app(
    settings: Settings,
    store: StubStore,
    storage: Storage,
    messenger: StubMessenger,
    catalogue: Mapping[str, BaseModel],
    clock: FakeClock,
) -> FastAPI:
    return create_app(settings, store, storage, messenger, catalogue, clock)


@pytest.fixture
def client_for(app: FastAPI, store: StubStore, clock: FakeClock) -> ClientFor:
    """A client with a fresh key of the tenant named."""

    def make(tenant: str) -> TestClient:
        secret, key = new_api_key(tenant, "test", clock.now())
        store.put_key(key)
        return TestClient(app, headers={"Authorization": f"Bearer {secret}"})

    return make


@pytest.fixture
def client(client_for: ClientFor) -> TestClient:
    return client_for("acme")


@pytest.fixture
def stranger(client_for: ClientFor) -> TestClient:
    """Another tenant."""
    return client_for("globex")
