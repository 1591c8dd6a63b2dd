"""What an upload takes, and when it ends."""

from dataclasses import replace

import pytest

from pando_shared.errors import IllegalTransition, InvalidRequest
from pando_shared.records import FileRecord
from pando_shared.uploads import MAX_PARTS, Completion, Upload, UploadPart

NOW = 1_000_000.0
HOUR = 3600.0


def make_upload(*sizes: int, announced: int = 10) -> Upload:
    """With a part of each size, named after its place."""
    parts = tuple(UploadPart(f"part_{place}", size, NOW) for place, size in enumerate(sizes))
    return Upload("upload_1", "acme", "a.jsonl", "fine-tune", announced, NOW, parts=parts)


def completed(upload: Upload) -> Upload:
    file = FileRecord("file-1", "acme", "a.jsonl", "fine-tune", upload.bytes, NOW)
    return upload.completed(Completion(file, tuple(part.id for part in upload.parts), "0" * 32))


def test_the_caller_orders_the_parts() -> None:
    upload = make_upload(1, 2, 7)
    assert [part.bytes for part in upload.chosen(["part_2", "part_0", "part_1"])] == [7, 1, 2]


def test_a_part_that_was_sent_in_vain_need_not_be_named() -> None:
    assert len(make_upload(4, 4, 6).chosen(["part_1", "part_2"])) == 2


@pytest.mark.parametrize(
    ("named", "says", "param"),
    [
        (["part_0"], "1 parts named hold 4 bytes, but 10 were announced", "part_ids"),
        ([], "0 parts named hold 0 bytes, but 10 were announced", "part_ids"),
        (["part_0", "part_1", "part_2"], "hold 14 bytes, but 10", "part_ids"),
        (["part_0", "part_9"], "no part 'part_9'", "part_ids.1"),
        (["part_0", "part_0"], "twice", "part_ids"),
    ],
)
def test_parts_that_do_not_make_the_file_are_refused(
    named: list[str], says: str, param: str
) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        make_upload(4, 6, 4).chosen(named)
    assert caught.value.param == param


def test_each_byte_may_come_three_times() -> None:
    full = make_upload(10, 10).with_part(UploadPart("part_2", 10, NOW), NOW)
    assert len(full.parts) == 3
    with pytest.raises(InvalidRequest, match="would hold 31 bytes, more than 3 times the 10"):
        full.with_part(UploadPart("part_3", 1, NOW), NOW)


def test_parts_are_counted() -> None:
    full = make_upload(*[1] * MAX_PARTS, announced=MAX_PARTS)
    with pytest.raises(InvalidRequest, match="2000 parts, the most"):
        full.with_part(UploadPart("one more", 1, NOW), NOW)


def test_its_time_is_up_after_an_hour() -> None:
    upload, part = make_upload(), UploadPart("part_0", 1, NOW)
    assert upload.with_part(part, NOW + HOUR - 1).parts == (part,)
    assert upload.expired(NOW + HOUR - 1) is upload
    for call in (upload.require_pending, upload.cancelled, lambda at: upload.with_part(part, at)):
        with pytest.raises(IllegalTransition, match="expired at 1970-01-12T14:46:40"):
            call(NOW + HOUR)
    assert upload.expired(NOW + HOUR).status == "expired"


@pytest.mark.parametrize("status", ["cancelled", "expired", "completed"])
def test_what_has_ended_stays_as_it_is(status: str) -> None:
    whole = make_upload(10)
    ended = (
        completed(whole) if status == "completed" else replace(whole, status=status)  # type: ignore[arg-type]
    )
    for call in (
        lambda: ended.with_part(UploadPart("part_9", 1, NOW), NOW),
        lambda: ended.require_pending(NOW),
        lambda: completed(ended),
    ):
        with pytest.raises(IllegalTransition, match=status):
            call()
    assert ended.expired(NOW + 2 * HOUR) is ended
    if status == "cancelled":
        assert ended.cancelled(NOW) is ended
    else:
        with pytest.raises(IllegalTransition, match=status):
            ended.cancelled(NOW)


def test_completing_that_began_in_time_may_end_late() -> None:
    assert completed(make_upload(10)).status == "completed"
