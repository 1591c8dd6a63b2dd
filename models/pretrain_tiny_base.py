"""Pretrain the tiny base from nothing: its tokenizer, then its weights.

    python models/pretrain_tiny_base.py --out models/tiny-base

Needs torch and transformers only; the text comes from the grammar in `tiny_english`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tiny_english.corpus import Messages, documents
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
SPECIAL = [BOS, EOS, PAD, "<|system|>", "<|user|>", "<|assistant|>"]
VOCAB_SIZE = 1536
MAX_POSITIONS = 512
IGNORED = -100

#: Words take their leading space with them; every digit stands alone, so that sums can be learnt.
WORDS = Regex(r" ?[A-Za-z]+(?:'[a-z]+)?| ?\d|[^\sA-Za-z\d]+| +")

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' -%}
        {{- '<|assistant|>' -}}
        {%- generation -%}{{- message['content'] + eos_token -}}{%- endgeneration -%}
    {%- else -%}
        {{- '<|' + message['role'] + '|>' + message['content'] -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE over a sample of the corpus: any text can be encoded."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(WORDS, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sample = itertools.islice(documents(seed), 20_000)
    texts = (
        text
        for document in sample
        for text in ([document] if isinstance(document, str) else [m["content"] for m in document])
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerBase, document: Messages | str) -> list[int]:
    if isinstance(document, str):
        text = BOS + document + EOS
    else:
        text = tokenizer.apply_chat_template(document, tokenize=False)
    return list(tokenizer.encode(text, add_special_tokens=False))


def batches(
    tokenizer: PreTrainedTokenizerBase, seed: int, tokens: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and labels, both [rows, length] with rows · length = `tokens`.

    Whole documents fill each row. Every eighth batch has rows as long as the model's context, the
    others are short, so that all positions are learnt at little cost.
    """
    stream = (encode(tokenizer, document) for document in documents(seed))
    waiting = next(stream)
    for step in itertools.count():
        length = MAX_POSITIONS if step % 8 == 0 else 128
        inputs = torch.full((tokens // length, length), tokenizer.pad_token_id)
        labels = torch.full_like(inputs, IGNORED)
        for row in range(len(inputs)):
            at = 0
            while at + len(waiting) <= length:
                inputs[row, at : at + len(waiting)] = torch.tensor(waiting)
                at += len(waiting)
                waiting = next(stream)
            if at == 0:  # Longer than a whole short row: keep its beginning.
                inputs[row] = torch.tensor(waiting[:length])
                at, waiting = length, next(stream)
            labels[row, :at] = inputs[row, :at]
        yield inputs, labels


def new_model(tokenizer: PreTrainedTokenizerBase, hidden: int, layers: int) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3 // 32 * 32,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 32,
            num_key_value_heads=hidden // 64,
            head_dim=32,
            max_position_embeddings=MAX_POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 100 steps, then a cosine to a twentieth of the peak."""
    if step < 100:
        return peak * (step + 1) / 100
    done = (step - 100) / max(1, steps - 100)
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def pretrain(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, args: argparse.Namespace
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.05)
    started, mean_loss = time.monotonic(), 0.0
    stream = batches(tokenizer, args.seed + 1, args.batch_tokens)
    model.train()
    for step, (inputs, labels) in enumerate(itertools.islice(stream, args.steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.learning_rate)
        loss = model(input_ids=inputs, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean_loss += (loss.item() - mean_loss) / min(step + 1, 50)
        if (step + 1) % 100 == 0:
            seconds = time.monotonic() - started
            print(f"step {step + 1}/{args.steps} loss {mean_loss:.3f} {seconds:.0f} s", flush=True)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Weights go to bfloat16, half the bytes; training them further loads them as float32."""
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=64,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished model")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = train_tokenizer(args.seed)
    model = new_model(tokenizer, args.hidden, args.layers)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    pretrain(model, tokenizer, args)
    save(model, tokenizer, args.out)


if __name__ == "__main__":
    main()
