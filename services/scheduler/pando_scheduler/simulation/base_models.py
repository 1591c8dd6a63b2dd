"""Base models that simulated jobs train on, by their published shapes; held in 16 bits."""

from __future__ import annotations

from collections.abc import Iterable

from pando_shared.catalogue import BaseModel, Linear
from pando_shared.errors import InvalidRequest


def _decoder(
    name: str,
    layers: int,
    hidden: int,
    intermediate: int,
    heads: int,
    kv_heads: int,
    vocabulary: int,
    positions: int,
    *,
    head_width: int = 128,
    biases: int = 0,
    tied: bool = False,
) -> BaseModel:
    """A decoder of Llama's kind. `biases` are those of one block."""
    queries, keys = heads * head_width, kv_heads * head_width
    linears = (
        Linear("q_proj", hidden, queries, layers),
        Linear("k_proj", hidden, keys, layers),
        Linear("v_proj", hidden, keys, layers),
        Linear("o_proj", queries, hidden, layers),
        Linear("gate_proj", hidden, intermediate, layers),
        Linear("up_proj", hidden, intermediate, layers),
        Linear("down_proj", intermediate, hidden, layers),
    )
    embeddings = (1 if tied else 2) * vocabulary * hidden
    norms = (2 * layers + 1) * hidden
    weights = sum(linear.count * linear.in_features * linear.out_features for linear in linears)
    parameters = weights + embeddings + norms + layers * biases
    return BaseModel(
        name=name,
        path="",
        hidden_size=hidden,
        intermediate_size=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_width,
        vocab_size=vocabulary,
        max_positions=positions,
        weight_bytes=2 * parameters,
        parameters=parameters,
        linears=linears,
        tied=tied,
    )


_MODELS = (
    _decoder("llama-3.2-1b", 16, 2048, 8192, 32, 8, 128256, 131072, head_width=64, tied=True),
    _decoder("llama-3.2-3b", 28, 3072, 8192, 24, 8, 128256, 131072, tied=True),
    _decoder("mistral-7b", 32, 4096, 14336, 32, 8, 32768, 32768),
    _decoder("qwen2.5-7b", 28, 3584, 18944, 28, 4, 152064, 32768, biases=3584 + 2 * 512),
    _decoder("llama-3.1-8b", 32, 4096, 14336, 32, 8, 128256, 131072),
    _decoder("llama-3.1-70b", 80, 8192, 28672, 64, 8, 128256, 131072),
)
KNOWN = {model.name: model for model in _MODELS}
#: Of about one size: the simulated workers train all bases at one speed.
DEFAULT = ("llama-3.1-8b", "mistral-7b", "qwen2.5-7b")


def catalogue_of(names: Iterable[str]) -> dict[str, BaseModel]:
    """The models of these names.

    Raises:
        InvalidRequest: there is none of a name; says which there are.
    """
    found = {}
    for name in names:
        if name not in KNOWN:
            raise InvalidRequest(
                f"no base model {name!r} is known; choose from {', '.join(KNOWN)}", param="bases"
            )
        found[name] = KNOWN[name]
    return found
