"""What docs/operating.md says of releases beside one another, and of how long things are kept."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields

from docs_commands import ROOT
from factories import make_job

from pando_scheduler.loop import LEAD_SECONDS
from pando_shared.codec import decode, encode
from pando_shared.jobs import Job
from pando_shared.settings import Settings
from pando_shared.store.values import IDEMPOTENCY_SECONDS, SAMPLE_TEXT_SECONDS
from pando_shared.uploads import UPLOAD_SECONDS

PAGE = (ROOT / "docs" / "operating.md").read_text()


def test_an_older_process_leaves_out_of_a_record_what_it_does_not_know() -> None:
    job = make_job()
    newer = {**json.loads(encode(job)), "of_tomorrow": {"a": 1}}
    known = decode(Job, json.dumps(newer))
    assert known == job
    assert b"of_tomorrow" not in encode(known)


def test_a_newer_process_reads_a_record_that_lacks_what_came_later() -> None:
    job = make_job()
    document = json.loads(encode(job))
    later = [
        each.name
        for each in fields(Job)
        if (each.default, each.default_factory) != (MISSING, MISSING)
    ]
    assert later
    older = {name: value for name, value in document.items() if name not in later}
    assert decode(Job, json.dumps(older)).spec == job.spec


def test_the_page_has_the_times_that_the_code_has() -> None:
    assert f"it leads after {LEAD_SECONDS:.0f} s at most" in PAGE
    assert f"was seen | {IDEMPOTENCY_SECONDS // 3600} hours" in PAGE
    defaults = Settings.model_fields
    assert f"`PANDO_ROUND_SECONDS`, {defaults['round_seconds'].default:.0f})" in PAGE
    assert f"`PANDO_CHECKPOINT_SECONDS` ({defaults['checkpoint_seconds'].default:.0f})" in PAGE
    assert (UPLOAD_SECONDS, SAMPLE_TEXT_SECONDS) == (3600, 3600)
    assert "parts of an upload that was not completed | an hour" in PAGE
    assert "answers of samples, in Redis | an hour" in PAGE
