"""The byte model: what a worker needs at its peak, predicted from shapes alone.

M(S) = base + Σ (adapter + gradient + optimizer) + activations(token budget) + logits chunk
     + the largest weight unpacked, where the base is quantised

On a CPU all of it is one memory. A GPU worker has a second, its host's: MEFT's rows train there,
and the GPU holds a cache of them and buffers that they pass through.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

from pando_shared.adapters import ALL_LINEAR, AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.base_format import BaseFormat, base_bytes, unpacked_bytes
from pando_shared.base_shape import BaseShape, LinearShape
from pando_shared.footprint import Footprint, Largest
from pando_shared.recompute import Recompute

#: Interpreter, libraries and allocator of a worker process that has loaded an empty base.
RUNTIME_BYTES = 512 << 20
#: What the first steps load and allocate for good, each lane's arena and caches among it.
_LATE_BYTES = 32 << 20
#: Value, gradient and two AdamW moments, each fp32.
_TRAINED_BYTES = 4 * 4
#: The copy that a checkpoint is written from: value and moments. One is held at a time.
_SNAPSHOT_BYTES = 3 * 4
#: What a GPU keeps of a MEFT job's rows, at most, in the type it computes in: just all of 1,024
#: keys a layer beside an 8B base in 16 bits.
MEFT_CACHE_BYTES = 512 << 20
#: Buffers that the rows of all MEFT jobs pass through on a GPU: one is filled while the other is in
#: use. Each takes so many numbers of keys, rounded up to whole experts, and as many of values: a
#: layer of 8,192 keys beside an 8B base.
MEFT_BUFFERS = 2
MEFT_BUFFER_NUMBERS = 32 << 20
#: Sums of single visits that a GPU holds at a time, unless the narrowest slab is more.
_MEFT_SLAB_BYTES = 64 << 20
#: What a key and its value have beside their numbers: a count and a step, int32, and a flag.
_ROW_RECORD_BYTES = 4 + 4 + 1
#: Logits that exist at a time, by the bytes of a number: few on a CPU, where a chunk should stay in
#: the cache; on a GPU, which 16 bits stand for, enough rows to fill it.
_LOGITS_AT_ONCE = {4: 4 << 20, 2: 64 << 20}
_FEWEST_ROWS = 16


@dataclass(frozen=True, slots=True)
class Needs:
    """Peak bytes of a worker: of its device and, where that is a GPU, of its host (else 0)."""

    device_bytes: int
    host_bytes: int = 0


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
            router = _meft_layers(base, adapter) * adapter.experts * base.hidden_size
            return _row_numbers(base, adapter) + router


def _row_numbers(base: BaseShape, adapter: MeftConfig) -> int:
    """How many of MEFT's trained numbers are keys and values; the others are the router's."""
    return _meft_layers(base, adapter) * 2 * adapter.num_keys * base.hidden_size


def _meft_layers(base: BaseShape, adapter: MeftConfig) -> int:
    return base.layers if adapter.layers is None else len(adapter.layers)


def _targets(base: BaseShape, names: tuple[str, ...]) -> list[LinearShape]:
    if names == ALL_LINEAR:
        return list(base.linears)
    leaves = {name.rsplit(".", 1)[-1] for name in names}
    return [linear for linear in base.linears if any(fnmatch(linear.name, n) for n in leaves)]


def adapter_bytes(base: BaseShape, adapter: AdapterConfig, held: BaseFormat, device: str) -> int:
    """Bytes of the device that an adapter holds while it trains.

    These are fp32 values, gradients and both moments; and where the base computes in 16 bits, a
    copy of the values in that type. Of MEFT's rows, which train in the host's memory, a GPU holds
    a cache.
    """
    each = _TRAINED_BYTES + (2 if held.compute_bytes == 2 else 0)
    if not isinstance(adapter, MeftConfig):
        return trained_parameters(base, adapter) * each
    numbers = _row_numbers(base, adapter)
    router = (trained_parameters(base, adapter) - numbers) * each
    if device == "cpu":
        return router + numbers * _TRAINED_BYTES
    return router + min(numbers * held.compute_bytes, MEFT_CACHE_BYTES)


def host_row_bytes(
    base: BaseShape, adapter: MeftConfig, held: BaseFormat, rows_on_disk: bool = False
) -> int:
    """Bytes of a GPU worker's host that a MEFT adapter's rows take while they train.

    These are fp32 values, gradients and both moments; and where the base computes in 16 bits, a
    copy of the values in that type, which the GPU reads. `rows_on_disk`: values and moments are
    mapped from a disk, where no GPU reads or writes: gradients stay, and a copy there always is.
    """
    if rows_on_disk:
        each = 4 + held.compute_bytes
    else:
        each = _TRAINED_BYTES + (2 if held.compute_bytes == 2 else 0)
    records = _meft_layers(base, adapter) * adapter.num_keys * _ROW_RECORD_BYTES
    return _row_numbers(base, adapter) * each + records


def meft_buffer_numbers(hidden_size: int, adapter: MeftConfig) -> int:
    """Numbers of keys, and as many of values, that one buffer on a GPU takes of an adapter."""
    expert = adapter.num_keys // adapter.experts * hidden_size
    whole = -(-MEFT_BUFFER_NUMBERS // expert) * expert
    return min(whole, adapter.num_keys * hidden_size)


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
            # Products, activations and the widest of their gradients; a visit's gate and places.
            extra = 4 * 3 * adapter.probes * (adapter.num_keys // adapter.experts)
            extra += 20 * adapter.probes + (4 * adapter.experts if adapter.balance else 0)
    whole = (kept + inputs) * element_bytes + extra
    match recompute:
        case Recompute.NOTHING:
            return base.layers * whole
        case Recompute.CHEAP:
            return base.layers * (kept * element_bytes + extra)
        case Recompute.BLOCK:
            return base.layers * d * element_bytes + whole


def resident_bytes(base: BaseShape, held: BaseFormat) -> int:
    """Bytes of a worker that has loaded this base and trains nothing."""
    return RUNTIME_BYTES + base_bytes(base, held)


def footprint(
    base: BaseShape,
    adapter: AdapterConfig,
    held: BaseFormat,
    device: str,
    rows_on_disk: bool = False,
    longest: int = 0,
) -> Footprint:
    """What one adapter takes of a worker. `longest`: tokens of its data's longest sequence.

    `rows_on_disk`: values and moments of MEFT's rows are mapped from a disk.
    """
    whole, cheap, block = (
        activation_bytes_per_token(base, adapter, held.compute_bytes, recompute)
        for recompute in Recompute
    )
    largest = Largest(whole, cheap, block, longest, trained_parameters(base, adapter))
    host = 0
    match adapter:
        case MeftConfig():
            gradients = meft_buffer_numbers(base.hidden_size, adapter)
            cached = _row_numbers(base, adapter) * held.compute_bytes <= MEFT_CACHE_BYTES
            largest = largest._replace(
                buffer_gradients=gradients,
                buffer_values=0 if cached else gradients,
                visits=adapter.probes,
                visited_keys=adapter.probes * (adapter.num_keys // adapter.experts),
            )
            if device != "cpu":
                host = host_row_bytes(base, adapter, held, rows_on_disk)
        case LoraConfig() | PacaConfig():
            largest = largest._replace(rank=adapter.rank)
    return Footprint(1, adapter_bytes(base, adapter, held, device), host, 0, largest)


@dataclass(frozen=True, slots=True)
class StepModel:
    """What a training step takes of a device beside base and adapters: the terms that the base, the
    form it is held in and the device decide."""

    on_gpu: bool
    compute_bytes: int
    #: The backward pass of a layer holds a few of its widest tensors.
    backward_token_bytes: int
    logits_row_bytes: int
    logits_rows: int
    unpacked_bytes: int
    #: Bytes of one row of partial sums of the widest B's gradient, a column of it.
    sums_bytes: int

    def bytes(self, adapters: Footprint, tokens: int, recompute: Recompute) -> int:
        """Of a full microbatch of `tokens`, all of it from the hungriest adapter."""
        largest = adapters.largest
        step = tokens * (_token_bytes(largest, recompute) + self.backward_token_bytes)
        step += min(tokens, self.logits_rows) * self.logits_row_bytes + self.unpacked_bytes
        if not self.on_gpu:
            return step + _LATE_BYTES + _SNAPSHOT_BYTES * largest.parameters
        # Partial sums: one a chunk of 512 rows.
        chunks = -(-tokens // 512) + adapters.count
        step += chunks * largest.rank * self.sums_bytes
        # Keys and values of jobs that the cache does not hold whole, in the type it computes in,
        # and gradients of any job's in fp32.
        values = largest.buffer_values * self.compute_bytes
        step += MEFT_BUFFERS * 2 * (values + largest.buffer_gradients * 4)
        if largest.visits:
            # Sums over experts: a slab of each visit's own sum, and its weights in 16 bits.
            step += max(_MEFT_SLAB_BYTES, 512 * tokens * largest.visits)
            step += 2 * tokens * largest.visited_keys
        return step


def _token_bytes(largest: Largest, recompute: Recompute) -> int:
    if recompute is Recompute.NOTHING:
        return largest.token_bytes
    if recompute is Recompute.CHEAP:
        return largest.token_bytes_cheap
    return largest.token_bytes_block


def step_model(base: BaseShape, held: BaseFormat, device: str) -> StepModel:
    element_bytes = held.compute_bytes
    widest = max(base.intermediate_size, base.hidden_size)
    # Logits are copied in fp32 on a CPU; a GPU works in place.
    logit_bytes = 3 * 4 if device == "cpu" else 2 * element_bytes
    return StepModel(
        on_gpu=device != "cpu",
        compute_bytes=element_bytes,
        backward_token_bytes=element_bytes * (3 * widest + 4 * base.hidden_size),
        logits_row_bytes=logit_bytes * base.vocab_size,
        logits_rows=logits_rows(base.vocab_size, element_bytes),
        unpacked_bytes=unpacked_bytes(base, held),
        sums_bytes=2 * base.intermediate_size * 4,
    )


def host_bytes(adapters: Footprint, on_gpu: bool) -> int:
    """Peak bytes of the host of a GPU worker: the process, all MEFT rows and the largest job's
    checkpoint. 0 on a CPU, whose peak has all that in it."""
    if not on_gpu:
        return 0
    snapshot = _SNAPSHOT_BYTES * adapters.largest.parameters
    return RUNTIME_BYTES + _LATE_BYTES + adapters.host_bytes + snapshot
