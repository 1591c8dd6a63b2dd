"""The byte model: what a worker needs at its peak, predicted from shapes alone.

M(S) = base + Σ (adapter + gradient + optimizer) + activations(token budget) + logits chunk
     + the largest weight unpacked, where the base is quantised
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

from pando_shared.adapters import ALL_LINEAR, AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.base_format import BaseFormat, base_bytes, unpacked_bytes
from pando_shared.base_shape import BaseShape, LinearShape
from pando_shared.recompute import Recompute

#: Interpreter, libraries and allocator of a worker process that has loaded an empty base.
RUNTIME_BYTES = 512 << 20
#: What the first steps load and allocate for good, each lane's arena and caches among it; on a GPU
#: the same lies in the host's memory.
_LATE_BYTES = 32 << 20
#: Value, gradient and two AdamW moments, each fp32.
_TRAINED_BYTES = 4 * 4
#: Logits that exist at a time, by the bytes of a number: few on a CPU, where a chunk should stay in
#: the cache; on a GPU, which 16 bits stand for, enough rows to fill it.
_LOGITS_AT_ONCE = {4: 4 << 20, 2: 64 << 20}
_FEWEST_ROWS = 16
#: A chunk's copies that exist at once: a GPU works in place.
_LOGITS_COPIES = {4: 3, 2: 2}


def logits_rows(vocab_size: int, compute_bytes: int) -> int:
    """Rows of the output layer's logits that the engine holds at a time: whole tiles of 128."""
    rows = max(_FEWEST_ROWS, _LOGITS_AT_ONCE[compute_bytes] // vocab_size)
    return rows // 128 * 128 if rows >= 128 else rows


def trained_parameters(base: BaseShape, adapter: AdapterConfig) -> int:
    """How many numbers the adapter trains."""
    match adapter:
        case LoraConfig():
            return sum(
                linear.count * adapter.rank * (linear.in_features + linear.out_features)
                for linear in _targets(base, adapter.target_modules)
            )
        case PacaConfig():
            return sum(
                linear.count * adapter.rank * linear.out_features
                for linear in _targets(base, adapter.target_modules)
            )
        case MeftConfig():
            per_layer = (2 * adapter.num_keys + adapter.experts) * base.hidden_size
            return base.layers * per_layer


def _targets(base: BaseShape, names: tuple[str, ...]) -> list[LinearShape]:
    if names == ALL_LINEAR:
        return list(base.linears)
    leaves = {name.rsplit(".", 1)[-1] for name in names}
    return [linear for linear in base.linears if any(fnmatch(linear.name, n) for n in leaves)]


def adapter_bytes(base: BaseShape, adapter: AdapterConfig, held: BaseFormat) -> int:
    """Bytes an adapter holds while it trains: fp32 values, gradients and both moments; and where
    the base computes in 16 bit, a copy of the values in that type (MEFT computes in fp32)."""
    each = _TRAINED_BYTES
    if held.compute_bytes == 2 and not isinstance(adapter, MeftConfig):
        each += 2
    return trained_parameters(base, adapter) * each


def activation_bytes_per_token(
    base: BaseShape, adapter: AdapterConfig, element_bytes: int, recompute: Recompute
) -> int:
    """Bytes one token keeps alive until the backward pass has used them.

    A block keeps its input and its second norm's, q, k, v and the attention's output, gate and up.
    A LoRA gradient also reads both norms' outputs and the activation's, a MEFT gradient the second
    norm's: these are what CHEAP makes again. Beside them an adapter keeps its r columns a linear,
    MEFT its probed products. Of BLOCK, one block's are alive at a time.
    """
    d, m = base.hidden_size, base.intermediate_size
    kept = 2 * d + 2 * (base.heads + base.kv_heads) * base.head_dim + 2 * m
    inputs, extra = 0, 0
    match adapter:
        case LoraConfig():
            inputs = 2 * d + m
            extra = element_bytes * adapter.rank * len(_targets(base, adapter.target_modules))
        case PacaConfig():
            extra = element_bytes * adapter.rank * len(_targets(base, adapter.target_modules))
        case MeftConfig():
            inputs = d
            extra = 4 * 3 * adapter.probes * (adapter.num_keys // adapter.experts)
    whole = (kept + inputs) * element_bytes + extra
    match recompute:
        case Recompute.NOTHING:
            return base.layers * whole
        case Recompute.CHEAP:
            return base.layers * (kept * element_bytes + extra)
        case Recompute.BLOCK:
            return base.layers * d * element_bytes + whole


def _reduction_bytes(base: BaseShape, adapters: Sequence[AdapterConfig], token_budget: int) -> int:
    """Partial sums of the widest B's gradient on a GPU: one a chunk of 512 rows, in fp32."""
    ranks = (a.rank for a in adapters if isinstance(a, LoraConfig | PacaConfig))
    chunks = -(-token_budget // 512) + len(adapters)
    return chunks * 2 * base.intermediate_size * max(ranks, default=0) * 4


def resident_bytes(base: BaseShape, held: BaseFormat) -> int:
    """Bytes of a worker that has loaded this base and trains nothing."""
    return RUNTIME_BYTES + base_bytes(base, held)


def predict_peak_bytes(
    base: BaseShape,
    adapters: Sequence[AdapterConfig],
    token_budget: int,
    held: BaseFormat,
    resident: int,
    recompute: Recompute = Recompute.NOTHING,
) -> int:
    """Peak bytes of a worker that trains these adapters together.

    `resident` is what it holds with the base loaded, predicted or measured. The activations are
    those of a full microbatch, all of it from the hungriest adapter.
    """
    trained = sum(adapter_bytes(base, adapter, held) for adapter in adapters)
    element_bytes = held.compute_bytes
    per_token = max(
        (activation_bytes_per_token(base, a, element_bytes, recompute) for a in adapters), default=0
    )
    # The backward pass of a layer holds a few of its widest tensors on top.
    widest = max(base.intermediate_size, base.hidden_size)
    backward = token_budget * element_bytes * (3 * widest + 4 * base.hidden_size)
    rows = min(token_budget, logits_rows(base.vocab_size, element_bytes))
    logits = element_bytes * _LOGITS_COPIES[element_bytes] * rows * base.vocab_size
    # On a CPU the checkpoint being written is a copy beside what trains: value and moments.
    beside = _LATE_BYTES + max((trained_parameters(base, a) * 12 for a in adapters), default=0)
    if element_bytes == 2:
        beside = 0  # a GPU's lies in the host's memory
        backward += _reduction_bytes(base, adapters, token_budget)
    step = token_budget * per_token + backward + logits + unpacked_bytes(base, held)
    return resident + trained + step + beside
