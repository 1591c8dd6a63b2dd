"""Answering one request for text, between rounds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from pando_shared.codec import decode
from pando_shared.errors import InvalidRequest, PandoError
from pando_shared.tracing import span
from pando_shared.workers import SampleChunk, SampleRequest
from pando_worker.engine.engine import Engine
from pando_worker.engine.generation import Sampling, generate
from pando_worker.host import Host
from pando_worker.sampled_adapter import adapter_layers
from pando_worker.tokenizer import TextTokenizer, load_tokenizer

log = logging.getLogger(__name__)


def run_sample(host: Host, request_json: str) -> None:
    """Generate, pushing text to the store piece by piece; errors become the last piece."""
    request = decode(SampleRequest, request_json)
    try:
        with span(
            "generate text",
            kind="consumer",
            base_model=request.base_model,
            worker_id=host.worker.id,
        ):
            for chunk in _chunks(host, request):
                host.store.push_sample_chunks(request.id, [chunk])
    except Exception as error:  # a template's own errors, for one: whoever waits must hear of it
        if not isinstance(error, PandoError):
            log.exception("sample %s failed", request.id)
        failed = SampleChunk("", finish_reason="error", error=str(error) or repr(error))
        host.store.push_sample_chunks(request.id, [failed])
    finally:
        host.store.sample_done(host.worker.id, request.id)


def _chunks(host: Host, request: SampleRequest) -> Iterator[SampleChunk]:
    if host.tenancies and host.worker.base_model != request.base_model:
        raise InvalidRequest(
            f"this worker is training on {host.worker.base_model}; "
            f"{request.base_model} can be sampled when a worker is free"
        )
    engine = host.use_base(request.base_model)
    tokenizer = load_tokenizer(Path(host.models[request.base_model]))
    prompt = _prompt(tokenizer, request)
    room = engine.base.max_positions - len(prompt)
    if room <= 0:
        raise InvalidRequest(
            f"the prompt has {len(prompt)} tokens; {request.base_model} takes at most "
            f"{engine.base.max_positions} in all"
        )
    sampling = Sampling(
        max_tokens=min(request.max_tokens, room),
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        end_tokens=_end_tokens(engine, tokenizer),
    )
    layers = adapter_layers(host, engine.base, request.adapter_path)
    ids: list[int] = []
    said, finish = 0, "length"
    for token in generate(engine.base, layers, prompt, sampling):
        ids.append(token)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        cut = _first_stop(text, request.stop)
        if cut is not None:
            text, finish = text[:cut], "stop"
        elif text.endswith("\ufffd"):
            continue  # half a character; its other bytes come with the next tokens
        else:
            text = text[: len(text) - _possible_stop(text, request.stop)]
        if len(text) > said:
            yield SampleChunk(text[said:], tokens=len(ids), prompt_tokens=len(prompt))
            said = len(text)
        if cut is not None:
            break
    else:
        text = tokenizer.decode(ids, skip_special_tokens=True)
        if len(text) > said:
            yield SampleChunk(text[said:], tokens=len(ids), prompt_tokens=len(prompt))
        if len(ids) < sampling.max_tokens:
            finish = "stop"
    yield SampleChunk("", len(ids), len(prompt), finish_reason=finish)


def _prompt(tokenizer: TextTokenizer, request: SampleRequest) -> list[int]:
    if request.prompt is not None:
        ids = tokenizer.encode(request.prompt)
        return list(ids) or [tokenizer.bos_token_id]
    messages = [{"role": role, "content": content} for role, content in request.messages]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer.encode(text, add_special_tokens=False))


def _end_tokens(engine: Engine, tokenizer: TextTokenizer) -> frozenset[int]:
    configured = engine.base.model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)


def _first_stop(text: str, stops: tuple[str, ...]) -> int | None:
    found = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return min(found, default=None)


def _possible_stop(text: str, stops: tuple[str, ...]) -> int:
    """How many last characters may be the beginning of a stop string, and so must wait."""
    longest = 0
    for stop in stops:
        for size in range(1, len(stop)):
            if text.endswith(stop[:size]):
                longest = max(longest, size)
    return longest
