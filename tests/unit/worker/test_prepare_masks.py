"""Loss masks against what each template is known to put around an answer, written out by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import ByteLevel, TemplateProcessing

from pando_worker.prepare.encode import Encoded, Encoder
from pando_worker.prepare.examples import Chat, Completion, Message, Text
from pando_worker.prepare.fields import BadField
from pando_worker.tokenizer import DEFAULT_CHAT_TEMPLATE

OPEN_CHATML = """{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

CHATML = (
    """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"""
    """{% endfor %}"""
) + OPEN_CHATML

LLAMA3 = """\
{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role }}\
{{ '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}\
{% if add_generation_prompt %}\
{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""

#: As Qwen3: only the last turn gets an (empty) reasoning block.
REASONING = (
    """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"""
    """{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"""
    """{{ m.content + '<|im_end|>\n' }}{% endfor %}"""
) + OPEN_CHATML

#: As stories260k: no role tokens, and a line feed between turns but not behind the last.
PLAIN = """\
{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}\
{{ ' ' + m.content + eos_token }}{% if not loop.last %}{{ '\n' }}{% endif %}\
{% else %}{{ 'Q: ' + m.content + '\nA:' }}{% endif %}{% endfor %}"""

#: As Gemma: the assistant is called something else, and no system message is allowed.
RENAMED = """\
{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}\
{{ '<|im_start|>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}\
{{ m.content | trim + '<|im_end|>\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>model\n' }}{% endif %}"""

MARKED = """\
{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|im_start|>assistant\n' }}\
{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}\
{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"""


@dataclass(frozen=True)
class Template:
    source: str
    #: What must be learnt of an answer, told whether it closes the chat.
    learnt: Callable[[str, bool], str]


TEMPLATES = {
    "chatml": Template(CHATML, lambda text, last: text + "<|im_end|>"),
    "llama3": Template(LLAMA3, lambda text, last: text.strip() + "<|eot_id|>"),
    "reasoning": Template(
        REASONING, lambda text, last: "<think>\n\n</think>\n\n" * last + text + "<|im_end|>"
    ),
    "plain": Template(PLAIN, lambda text, last: " " + text + "</s>"),
    "renamed": Template(RENAMED, lambda text, last: text.strip() + "<|im_end|>"),
    "marked": Template(MARKED, lambda text, last: text + "<|im_end|>"),
    "default": Template(DEFAULT_CHAT_TEMPLATE, lambda text, last: text + "</s>"),
}


def with_template(tokenizer: Any, template: str) -> Any:
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


def learnt_text(tokenizer: Any, encoded: Encoded) -> str:
    targets = [t for t, flag in zip(encoded.tokens, encoded.targets, strict=True) if flag]
    return str(tokenizer.decode(targets))


content = st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=12)
exchanges = st.lists(st.tuples(content, content, st.booleans()), min_size=1, max_size=4)


@pytest.mark.parametrize("name", TEMPLATES)
@given(turns=exchanges)
def test_exactly_the_answers_are_learnt(
    byte_tokenizer: Any, name: str, turns: list[tuple[str, str, bool]]
) -> None:
    template = TEMPLATES[name]
    tokenizer = with_template(byte_tokenizer, template.source)
    messages = []
    for question, answer, learned in turns:
        messages += [Message("user", question), Message("assistant", answer, learned)]

    encoded = Encoder(tokenizer).encode(Chat(tuple(messages)))

    plain = [{"role": m.role, "content": m.content} for m in messages]
    assert tokenizer.decode(encoded.tokens) == tokenizer.apply_chat_template(plain, tokenize=False)
    last = len(turns) - 1
    expected = [template.learnt(a, i == last) for i, (_, a, learned) in enumerate(turns) if learned]
    assert learnt_text(tokenizer, encoded) == "".join(expected)


@pytest.mark.parametrize("name", ["chatml", "llama3", "reasoning", "renamed", "default"])
def test_learning_starts_where_the_prompt_ends_in_use(byte_tokenizer: Any, name: str) -> None:
    tokenizer = with_template(byte_tokenizer, TEMPLATES[name].source)
    question = Message("user", "Why?")

    encoded = Encoder(tokenizer).encode(Chat((question, Message("assistant", "Because."))))

    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Why?"}], add_generation_prompt=True, return_dict=False
    )
    assert encoded.tokens[: len(prompt)] == prompt
    assert encoded.targets.index(True) == len(prompt)


def test_answers_that_repeat_other_text_are_still_told_apart(byte_tokenizer: Any) -> None:
    tokenizer = with_template(byte_tokenizer, CHATML)
    echo = (Message("user", "aa"), Message("assistant", "aa", learned=False))
    encoded = Encoder(tokenizer).encode(
        Chat((*echo, Message("user", "aa"), Message("assistant", "aa")))
    )
    assert learnt_text(tokenizer, encoded) == "aa<|im_end|>"
    assert encoded.targets[-2 - len("aa") :] == [True] * 3 + [False]


def test_a_refusing_template_is_the_lines_fault(byte_tokenizer: Any) -> None:
    encoder = Encoder(with_template(byte_tokenizer, RENAMED))
    chat = Chat((Message("system", "x"), Message("assistant", "y")))
    with pytest.raises(BadField, match="refuses this chat: System role not supported"):
        encoder.encode(chat)


def test_a_template_that_hides_answers_is_reported(byte_tokenizer: Any) -> None:
    hiding = (
        "{% for m in messages %}{{ '<|im_start|>' + (m.content | length | string) }}{% endfor %}"
    )
    encoder = Encoder(with_template(byte_tokenizer, hiding))
    with pytest.raises(BadField, match=r"changes messages\[0\] beyond recognition"):
        encoder.encode(Chat((Message("assistant", "y"),)))


@given(prompt=content, completion=content)
def test_a_completion_is_learnt_with_its_end(
    byte_tokenizer: Any, prompt: str, completion: str
) -> None:
    encoded = Encoder(byte_tokenizer).encode(Completion(prompt, completion))
    assert byte_tokenizer.decode(encoded.tokens) == prompt + completion + "</s>"
    unlearnt = len(prompt.encode()) or 1  # The very first token cannot be predicted.
    assert encoded.targets == [i >= unlearnt for i in range(len(encoded.tokens))]


@given(text=content)
def test_all_of_a_raw_text_is_learnt_but_its_first_token(byte_tokenizer: Any, text: str) -> None:
    encoded = Encoder(byte_tokenizer).encode(Text(text))
    assert byte_tokenizer.decode(encoded.tokens) == text + "</s>"
    assert encoded.targets == [i > 0 for i in range(len(encoded.tokens))]


def test_the_tokenizers_own_start_and_end_are_used_once(byte_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(byte_tokenizer)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    encoded = Encoder(tokenizer).encode(Text("hi"))
    assert tokenizer.convert_ids_to_tokens(encoded.tokens) == ["<s>", "h", "i", "</s>"]
    assert encoded.targets == [False, True, True, True]


def test_spaces_with_trimmed_offsets_are_learnt(byte_tokenizer: Any) -> None:
    tokenizer = with_template(byte_tokenizer, CHATML)
    tokenizer.backend_tokenizer.post_processor = ByteLevel(trim_offsets=True)
    code = Message("assistant", "if x:\n    y  ")
    encoded = Encoder(tokenizer).encode(Chat((Message("user", " "), code)))
    assert learnt_text(tokenizer, encoded) == "if x:\n    y  <|im_end|>"
