"""A store knows what a create with a key made, for as long as it honours the key."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from factories import make_job

from pando_shared.clock import FakeClock
from pando_shared.records import FileRecord
from pando_shared.store import Store
from pando_shared.store.stub import StubStore
from pando_shared.uploads import Upload

FILE = FileRecord("file-1", "acme", "a.jsonl", "fine-tune", 30, 1.0, "0abc")
UPLOAD = Upload("upload_1", "acme", "a.jsonl", "fine-tune", 100, 1.0)


def test_the_job_of_a_key_is_found_by_its_tenant(store: Store) -> None:
    assert store.job_created_with("acme", "once") is None
    job = store.create_job(make_job(tenant="acme"), "once")
    assert store.job_created_with("acme", "once") == job
    assert store.job_created_with("acme", "twice") is None
    assert store.job_created_with("globex", "once") is None
    store.create_job(make_job(tenant="acme"))
    assert store.create_job(make_job(tenant="acme"), "once") == job


def test_a_key_is_forgotten_after_a_day(clock: FakeClock) -> None:
    store = StubStore(clock)
    job = store.create_job(make_job(tenant="acme"), "once")
    clock.advance(24 * 3600 - 1)
    assert store.job_created_with("acme", "once") == job
    clock.advance(1)
    assert store.job_created_with("acme", "once") is None
    assert store.create_job(other := make_job(tenant="acme"), "once") == other


def test_a_key_makes_one_file_for_as_long_as_that_is_there(store: Store) -> None:
    assert store.file_created_with("acme", "once") is None
    assert store.create_file(FILE, "once") == FILE
    second = replace(FILE, id="file-2")
    assert store.create_file(second, "once") == store.file_created_with("acme", "once") == FILE
    assert store.stored_bytes("acme", 2.0).files == 30
    assert store.file_created_with("globex", "once") is None
    store.delete_file("acme", FILE.id)
    assert store.file_created_with("acme", "once") is None
    assert store.create_file(second, "once") == second
    assert store.list_files("acme") == [second]


def test_a_key_makes_one_upload_and_finds_it_as_it_is_by_now(store: Store) -> None:
    assert store.upload_created_with("acme", "once") is None
    assert store.create_upload(UPLOAD, "once") == UPLOAD
    changed = store.update_upload(UPLOAD.id, lambda upload: upload.cancelled(2.0))
    assert store.create_upload(replace(UPLOAD, id="upload_2"), "once") == changed
    assert store.upload_created_with("acme", "once") == changed
    assert store.upload_created_with("globex", "once") is None


def test_a_job_a_file_and_an_upload_may_have_one_key(store: Store) -> None:
    job = store.create_job(make_job(tenant="acme"), "once")
    assert store.create_file(FILE, "once") == FILE
    assert store.create_upload(UPLOAD, "once") == UPLOAD
    assert store.job_created_with("acme", "once") == job


def test_creates_with_one_key_at_once_make_one_file(store: Store) -> None:
    together = threading.Barrier(8)

    def create(number: int) -> FileRecord:
        together.wait(timeout=10)
        return store.create_file(replace(FILE, id=f"file-{number}"), "once")

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(create, range(8)))
    assert list(made) == store.list_files("acme")
    assert store.stored_bytes("acme", 2.0).files == 30


def test_keys_of_files_and_uploads_are_forgotten_after_a_day(clock: FakeClock) -> None:
    store = StubStore(clock)
    store.create_file(FILE, "once")
    store.create_upload(UPLOAD, "once")
    clock.advance(24 * 3600)
    assert store.file_created_with("acme", "once") is None
    assert store.upload_created_with("acme", "once") is None
