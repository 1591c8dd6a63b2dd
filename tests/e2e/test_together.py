"""Jobs of all methods train together; what becomes of one is nothing to the others."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from local_stack import LocalStack
from peft import PeftModel
from stack_jobs import StackJobs
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from pando_shared.store.redis import RedisStore

pytestmark = pytest.mark.e2e

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"type": "lora", "rank": 8, "dropout": 0.05},
    "rslora": {"type": "lora", "rank": 4, "use_rslora": True, "target_modules": ["q_proj"]},
    "paca": {"type": "paca", "rank": 8},
    "meft": {"type": "meft", "num_keys": 64, "top_k": 8},
}
STARTED, ENDED = "Training started", "The job has successfully completed"
#: Time to notice a newcomer, end the round and begin the next, on a busy machine.
JOIN_SECONDS = 4.0


def test_one_that_blows_up_fails_alone(quick: LocalStack, jobs: StackJobs, tmp_path: Path) -> None:
    base = Path(quick.models["tiny"])
    files, words = digests(base), said(jobs, "tiny")
    knobs = {"n_epochs": 100, "max_steps": 30, "batch_size": 8}
    together = {
        name: jobs.start("tiny", adapter=adapter, learning_rate=3e-3, **knobs)
        for name, adapter in METHODS.items()
    }
    doomed = jobs.start("tiny", learning_rate=1e30, max_grad_norm=0, **knobs)

    for job_id in together.values():
        assert jobs.succeed(job_id).progress["step"] == 30  # type: ignore[attr-defined]
    ids = list(together.values())
    assert max(moments(quick, ids, STARTED)) < min(moments(quick, ids, ENDED))
    failed = jobs.get(doomed)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code in ("non_finite_loss", "non_finite_gradient")
    assert "a lower learning rate" in failed.error.message
    assert jobs.messages(doomed)[-1] == f"The job failed: {failed.error.message}"

    assert digests(base) == files
    assert said(jobs, "tiny") == words
    for name, job_id in together.items():
        folder = tmp_path / name
        assert quick.pando("download", job_id, "-o", str(folder)).code == 0
        before, after = losses(base, folder, jobs.data)
        assert after < 0.8 * before, name


def test_a_newcomer_joins_a_running_round(quick: LocalStack, jobs: StackJobs) -> None:
    first = jobs.start("tiny", n_epochs=15)
    jobs.wait_for_step(first, 1)
    newcomers = [jobs.start("tiny", n_epochs=15)]
    jobs.wait_for_step(newcomers[0], 1)
    newcomers.append(jobs.start("tiny", n_epochs=15))
    jobs.wait_for_step(newcomers[1], 1)
    assert jobs.get(first).status == "running"
    queued, started = moments(quick, newcomers, "Queued"), moments(quick, newcomers, STARTED)
    for job_id in (first, *newcomers):
        jobs.client.fine_tuning.jobs.cancel(job_id)
    waits = [end - begin for begin, end in zip(queued, started, strict=True)]
    assert max(waits) <= JOIN_SECONDS


def moments(stack: LocalStack, job_ids: list[str], message: str) -> list[float]:
    """When each live job said this, more finely than the protocol tells."""
    store = RedisStore(stack.redis_url())
    events = (store.events(job_id) for job_id in job_ids)
    found = [[e.created_at for e in of_job if e.message.startswith(message)] for of_job in events]
    store.close()
    return [moment for (moment,) in found]


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.iterdir() if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def said(jobs: StackJobs, model: str) -> str | None:
    """What a model answers, without chance."""
    answer = jobs.client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "What does a fox eat?"}],
        max_tokens=24,
        temperature=0,
    )
    return answer.choices[0].message.content


def losses(base: Path, adapter: Path, data: Path) -> tuple[float, float]:
    """Mean loss of the first lines of the data without and with an adapter, by stock libraries."""
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    chats = [json.loads(line)["messages"] for line in data.read_text().splitlines()[:20]]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
    rows = [tokenizer(text, add_special_tokens=False, return_tensors="pt") for text in texts]

    def loss(model: nn.Module) -> float:
        with torch.no_grad():
            return sum(float(model(**row, labels=row["input_ids"]).loss) for row in rows)

    return loss(model), loss(with_adapter(model, adapter))


def with_adapter(model: Any, folder: Path) -> nn.Module:
    """By peft, or by the loader that a MEFT adapter brings along."""
    loader = folder / "load_adapter.py"
    if not loader.exists():
        adapted: nn.Module = PeftModel.from_pretrained(model, folder).eval()
        return adapted
    spec = importlib.util.spec_from_file_location("brought_along", loader)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load_adapter(model, folder)  # type: ignore[no-any-return]
