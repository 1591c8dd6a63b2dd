"""What tenants keep in storage, counted by every store in the step that writes the record."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from factories import make_job

from pando_shared.errors import NotFound
from pando_shared.records import FileRecord, ModelRecord
from pando_shared.store import Change, Store
from pando_shared.store.values import UPLOAD_RECORD_SECONDS
from pando_shared.stored_bytes import StoredBytes, file_thing
from pando_shared.uploads import Completion, Upload, UploadPart

FILE = FileRecord("file-1", "acme", "a.jsonl", "fine-tune", 30, 1.0)
MODEL = ModelRecord("ft:tiny:acme::1", "acme", "tiny", "ftjob-1", "lora", "p", 1.0, bytes=500)
UPLOAD = Upload("upload_1", "acme", "a.jsonl", "fine-tune", 100, 1.0)
MANY = 10**15


def kept(store: Store, tenant: str = "acme", now: float = 2.0) -> StoredBytes:
    return store.stored_bytes(tenant, now)


def test_files_count_once_however_often_they_are_kept(store: Store) -> None:
    assert kept(store) == StoredBytes()
    store.put_file(FILE)
    store.put_file(FILE)
    store.put_file(replace(FILE, id="file-2", bytes=MANY))
    assert kept(store) == StoredBytes(files=MANY + 30)
    store.put_file(replace(FILE, bytes=7))
    assert kept(store).files == MANY + 7
    store.delete_file("acme", FILE.id)
    with pytest.raises(NotFound):
        store.delete_file("acme", FILE.id)
    assert kept(store) == StoredBytes(files=MANY)
    assert kept(store, "globex") == StoredBytes()


def test_an_adapter_counts_from_the_step_that_ends_its_job(store: Store) -> None:
    store.create_job(make_job("ftjob-1"))
    store.update_job("ftjob-1", lambda job: Change(job, model=MODEL))
    store.put_model(MODEL)
    assert kept(store) == StoredBytes(adapters=500)
    store.delete_model("acme", MODEL.name)
    assert kept(store) == StoredBytes()


def test_parts_count_until_their_upload_ends(store: Store) -> None:
    store.put_upload(UPLOAD)
    for number in range(3):
        part = UploadPart(f"part_{number}", 10, 2.0)
        store.update_upload(UPLOAD.id, lambda upload, part=part: upload.with_part(part, 2.0))
    assert kept(store) == StoredBytes(uploads=30)
    store.update_upload(UPLOAD.id, lambda upload: upload)
    assert kept(store) == StoredBytes(uploads=30)
    done = Completion(replace(FILE, bytes=20), ("part_0", "part_1"), "md5")
    store.update_upload(UPLOAD.id, lambda upload: upload.completed(done))
    assert kept(store) == StoredBytes()


def test_parts_of_an_upload_that_is_forgotten_count_no_more(store: Store) -> None:
    store.put_upload(UPLOAD)
    part = UploadPart("part_1", 10, 2.0)
    store.update_upload(UPLOAD.id, lambda upload: upload.with_part(part, 2.0))
    ends = UPLOAD.created_at + UPLOAD_RECORD_SECONDS
    assert kept(store, now=ends - 1).uploads == 10
    assert kept(store, now=ends).uploads == 0


def test_what_is_being_written_is_held_until_its_record_comes(store: Store) -> None:
    thing = file_thing(FILE.id)
    for size in (10, 20, 30):
        held = store.hold_bytes("acme", thing, size, most=30, now=1.0, until=60.0)
        assert (held.taken, held.stored.files) == (True, size)
    refused = store.hold_bytes("acme", thing, 31, most=30, now=1.0, until=60.0)
    assert (refused.taken, refused.stored) == (False, StoredBytes(files=30))
    store.put_file(FILE)
    # The record's bytes do not end with the hold.
    assert kept(store, now=61.0) == StoredBytes(files=30)


def test_a_hold_ends_when_it_is_released_or_its_time_is_up(store: Store) -> None:
    for number in (1, 2):
        thing = file_thing(f"file-{number}")
        assert store.hold_bytes("acme", thing, 10, most=20, now=1.0, until=60.0).taken
    assert not store.hold_bytes(
        "acme", file_thing("file-3"), 1, most=20, now=59.0, until=99.0
    ).taken
    store.release_bytes("acme", file_thing("file-1"))
    store.release_bytes("acme", file_thing("file-1"))
    assert kept(store).files == 10
    # Whoever asks next finds what a process that died has held to be free.
    assert store.hold_bytes("acme", file_thing("file-3"), 20, most=20, now=60.0, until=99.0).taken
    assert kept(store, now=60.0).files == 20


def test_who_keeps_too_much_already_may_hold_less_but_no_more(store: Store) -> None:
    store.put_file(FILE)
    thing = file_thing("file-2")
    assert not store.hold_bytes("acme", thing, 1, most=10, now=1.0, until=60.0).taken
    assert store.hold_bytes("acme", thing, 0, most=10, now=1.0, until=60.0).taken
    assert store.hold_bytes("acme", file_thing(FILE.id), 29, most=10, now=1.0, until=60.0).taken


def test_holds_at_once_never_come_to_more_together(store: Store) -> None:
    together = threading.Barrier(8)

    def hold(number: int) -> bool:
        together.wait(timeout=10)
        thing = file_thing(f"file-{number}")
        return store.hold_bytes("acme", thing, 10, most=35, now=1.0, until=60.0).taken

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(hold, range(8)))
    assert taken.count(True) == 3
    assert kept(store).files == 30
