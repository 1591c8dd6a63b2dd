"""`pando keys` and `pando recover` over a real Redis and a real storage."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_service import Pando

from pando_cli import client_config
from pando_cli.home import Home
from pando_cli.stack.first_key import FIRST_TENANT, ensure_key
from pando_shared.api_keys import digest
from pando_shared.clock import FakeClock
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore

URL = "http://127.0.0.1:8000"


def test_a_new_key_works_and_only_its_hash_is_kept(
    operator: Pando, redis_url: str, tmp_path: Path
) -> None:
    made = operator("keys", "create", "--tenant", "acme", "--name", "laptop", "--json").json
    found = RedisStore(redis_url).find_key(digest(made["key"]))
    assert found is not None
    assert (found.tenant, found.name, found.id) == ("acme", "laptop", made["id"])
    everything = b"".join(p.read_bytes() for p in (tmp_path / "storage").rglob("*") if p.is_file())
    assert made["id"].encode() in everything
    assert made["key"].encode() not in everything


def test_the_key_alone_is_on_stdout(operator: Pando) -> None:
    done = operator("keys", "create", "--tenant", "acme")
    assert done.out.startswith("sk-pando-")
    assert len(done.out.split()) == 1


def test_lists_show_no_secrets(operator: Pando) -> None:
    made = operator("keys", "create", "--tenant", "acme", "--json").json
    listed = operator("keys", "list", "--json")
    assert [key["id"] for key in listed.json["data"]] == [made["id"]]
    assert made["key"] not in listed.out
    assert digest(made["key"]) not in listed.out
    assert made["key"] not in operator("keys", "list").out


def test_a_revoked_key_is_useless_for_good(operator: Pando, redis_url: str) -> None:
    made = operator("keys", "create", "--tenant", "acme", "--json").json
    first = operator("keys", "revoke", made["id"], "--json").json["revoked_at"]
    store = RedisStore(redis_url)
    assert store.find_key(digest(made["key"])) is None
    assert operator("keys", "revoke", made["id"], "--json").json["revoked_at"] == first
    operator("recover")
    assert store.find_key(digest(made["key"])) is None


def test_a_key_has_a_scope_and_an_end(operator: Pando) -> None:
    made = operator(
        *("keys", "create", "--tenant", "acme", "--scope", "read-only", "--expires", "90d"),
        "--json",
    ).json
    assert made["scope"] == "read-only"
    assert made["expires_at"] - made["created_at"] == pytest.approx(90 * 86_400)
    assert "read-only" in operator("keys", "list").out
    assert operator("keys", "create", "--tenant", "acme", "--expires", "soon").code == 2
    assert operator("keys", "create", "--tenant", "acme", "--scope", "root").code == 2


def test_a_rotated_key_works_through_its_grace(operator: Pando, redis_url: str) -> None:
    old = operator("keys", "create", "--tenant", "acme", "--json").json
    new = operator("keys", "rotate", old["id"], "--grace", "1h", "--json").json
    store = RedisStore(redis_url)
    assert store.find_key(digest(new["key"])) is not None
    kept = store.find_key(digest(old["key"]))
    assert kept is not None
    assert kept.expires_at == pytest.approx(new["created_at"] + 3600)
    assert operator("keys", "rotate", "key-none").code == 2


def test_revoking_nothing(operator: Pando) -> None:
    done = operator("keys", "revoke", "key-none")
    assert done.code == 2
    assert "key-none" in done.err


@pytest.mark.parametrize("tenant", ["", "a b", "a:b", "../x", "x" * 65])
def test_a_tenants_name_must_fit_a_models(operator: Pando, tenant: str) -> None:
    assert operator("keys", "create", "--tenant", tenant).code == 2


def test_keys_survive_a_lost_redis(operator: Pando, redis_url: str) -> None:
    made = operator("keys", "create", "--tenant", "acme", "--json").json
    store = RedisStore(redis_url)
    store._redis.flushall()
    assert store.find_key(digest(made["key"])) is None
    assert operator("recover", "--json").json["keys"] == 1
    assert store.find_key(digest(made["key"])) is not None


def test_without_a_stack(pando: Pando, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANDO_REDIS_URL", raising=False)
    done = pando("keys", "list")
    assert done.code == 5
    assert "pando up" in done.err


def test_the_first_key_is_made_once(
    store: Store, storage: Storage, clock: FakeClock, tmp_path: Path
) -> None:
    home = Home.locate(tmp_path / "home")
    first = ensure_key(home, URL, store, storage, clock)
    again = ensure_key(home, URL, store, storage, clock)
    assert again == first == client_config.load(home)
    assert [key.tenant for key in store.list_keys()] == [FIRST_TENANT]


def test_a_new_port_keeps_the_key(
    store: Store, storage: Storage, clock: FakeClock, tmp_path: Path
) -> None:
    home = Home.locate(tmp_path / "home")
    first = ensure_key(home, URL, store, storage, clock)
    moved = ensure_key(home, "http://127.0.0.1:9000", store, storage, clock)
    assert moved.api_key == first.api_key
    assert client_config.load(home) == moved


def test_an_empty_redis_beside_a_full_storage_is_rebuilt(
    redis_url: str, storage: Storage, clock: FakeClock, tmp_path: Path
) -> None:
    home = Home.locate(tmp_path / "home")
    store = RedisStore(redis_url, clock)
    first = ensure_key(home, URL, store, storage, clock)
    store._redis.flushall()
    assert ensure_key(home, URL, store, storage, clock) == first
    assert len(store.list_keys()) == 1
