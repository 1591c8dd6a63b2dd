"""The three adapter methods as a tagged union: `config.type` tells which.

Plain standard-library dataclasses, because the training engine uses them where nothing else is
installed. Each validates itself; `parse_adapter` builds one from a JSON object and names a
misspelt knob.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from pando_shared.errors import InvalidRequest

ALL_LINEAR = ("all-linear",)
"""Every linear layer inside the decoder blocks: the default target."""


def _require(condition: bool, param: str, message: str) -> None:
    if not condition:
        raise InvalidRequest(message, param=f"adapter.{param}")


def _require_targets(targets: tuple[str, ...]) -> None:
    _require(len(targets) > 0, "target_modules", "target_modules must name at least one module")


def _require_finite(value: float, param: str) -> None:
    _require(math.isfinite(value) and value > 0, param, f"{param} must be positive, got {value}")


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """LoRA (arXiv 2106.09685): Y += s · drop(X) Aᵀ Bᵀ with s = alpha / rank.

    `use_rslora` makes s = alpha / √rank (arXiv 2312.03732).
    """

    type: Literal["lora"] = "lora"
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    use_rslora: bool = False
    target_modules: tuple[str, ...] = ALL_LINEAR

    def __post_init__(self) -> None:
        _require(1 <= self.rank <= 1024, "rank", f"rank must be in 1..1024, got {self.rank}")
        _require_finite(self.alpha, "alpha")
        _require(
            0.0 <= self.dropout < 1.0, "dropout", f"dropout must be in [0, 1), got {self.dropout}"
        )
        _require_targets(self.target_modules)

    @property
    def scale(self) -> float:
        return self.alpha / (self.rank**0.5 if self.use_rslora else self.rank)


@dataclass(frozen=True, slots=True)
class PacaConfig:
    """PaCA (ICLR 2025): train `rank` input columns of each weight, Y += s · X[:, I] Pᵀ.

    `alpha` defaults to `rank`, which makes s = 1: under Adam a scale only multiplies the
    learning rate. `selection` says how the columns I are drawn.
    """

    type: Literal["paca"] = "paca"
    rank: int = 16
    alpha: float | None = None
    selection: Literal["random", "weight-norm"] = "random"
    target_modules: tuple[str, ...] = ALL_LINEAR

    def __post_init__(self) -> None:
        _require(1 <= self.rank <= 1024, "rank", f"rank must be in 1..1024, got {self.rank}")
        if self.alpha is not None:
            _require_finite(self.alpha, "alpha")
        _require(
            self.selection in ("random", "weight-norm"),
            "selection",
            f"selection must be 'random' or 'weight-norm', got {self.selection!r}",
        )
        _require_targets(self.target_modules)

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.rank


#: What a GPU sorts a token's best keys out of without help from memory.
_MOST_KEYS_OF_A_TOKEN = 16384


@dataclass(frozen=True, slots=True)
class MeftConfig:
    """MEFT (ACL 2024): y = FFN(x) + W_V · TopK(ReLU(g · W_K x)), beside every frozen FFN.

    `num_keys` keys a layer (M), of which each token uses the `top_k` largest among the keys of its
    `num_probes` best experts. `num_experts` must divide `num_keys`; left out, it is the divisor
    nearest to √M / 2. `balance` weighs a term that keeps the router from sending all tokens to the
    same experts (0, as published: none). `layers` are the decoder blocks that get keys, counted
    from 0; None: all.
    """

    type: Literal["meft"] = "meft"
    num_keys: int = 1024
    top_k: int = 64
    num_experts: int | None = None
    num_probes: int = 8
    balance: float = 0.0
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        m = self.num_keys
        _require(1 <= m <= 1 << 20, "num_keys", f"num_keys must be in 1..1048576, got {m}")
        _require(
            1 <= self.top_k <= m, "top_k", f"top_k must be in 1..num_keys ({m}), got {self.top_k}"
        )
        _require(self.num_probes >= 1, "num_probes", "num_probes must be at least 1")
        _require(
            math.isfinite(self.balance) and self.balance >= 0,
            "balance",
            f"balance must be 0 or more, got {self.balance}",
        )
        if self.layers is not None:
            _require(
                len(self.layers) > 0
                and min(self.layers) >= 0
                and len(set(self.layers)) == len(self.layers),
                "layers",
                f"layers must name at least one block, each once, from 0 on; got {self.layers}",
            )
        if self.num_experts is not None:
            _require(
                self.num_experts >= 1 and m % self.num_experts == 0,
                "num_experts",
                f"num_experts must divide num_keys ({m}), got {self.num_experts}",
            )

        looked_at = self.probes * (m // self.experts)
        _require(
            looked_at <= _MOST_KEYS_OF_A_TOKEN,
            "num_probes",
            f"a token would look at {looked_at} keys, num_probes of num_keys / num_experts each; "
            f"{_MOST_KEYS_OF_A_TOKEN} is the most: raise num_experts or lower num_probes",
        )

    @property
    def experts(self) -> int:
        if self.num_experts is not None:
            return self.num_experts
        m = self.num_keys
        ideal = max(1.0, m**0.5 / 2)
        divisors = {d for i in range(1, int(m**0.5) + 1) if m % i == 0 for d in (i, m // i)}
        return min(divisors, key=lambda d: (abs(d - ideal), d))

    @property
    def probes(self) -> int:
        """Experts a token really looks into: `num_probes`, or all where there are fewer."""
        return min(self.num_probes, self.experts)


AdapterConfig = LoraConfig | PacaConfig | MeftConfig

_TYPES: dict[str, type[LoraConfig] | type[PacaConfig] | type[MeftConfig]] = {
    "lora": LoraConfig,
    "paca": PacaConfig,
    "meft": MeftConfig,
}
_KINDS = {"int": (int,), "float": (int, float), "bool": (bool,), "float | None": (int, float)}


def parse_adapter(knobs: Mapping[str, Any]) -> AdapterConfig:
    """Build a configuration from a JSON object such as `{"type": "lora", "rank": 8}`.

    Raises:
        InvalidRequest: unknown type, misspelt knob (names the nearest), wrong type or value.
    """
    kind = knobs.get("type", "lora")
    cls = _TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise InvalidRequest(
            f"adapter.type must be one of {', '.join(_TYPES)}; got {kind!r}", param="adapter.type"
        )
    known = {field.name: field for field in fields(cls)}
    values: dict[str, Any] = {}
    for name, value in knobs.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            allowed = ", ".join(sorted(known))
            raise InvalidRequest(
                f"adapter has no knob {name!r} for type {kind!r}{hint} (it has: {allowed})",
                param=f"adapter.{name}",
            )
        if value is None:
            continue
        values[name] = _coerce(name, value, str(known[name].type))
    return cls(**values)


def _coerce(name: str, value: Any, annotation: str) -> Any:
    if name == "target_modules":
        names = [value] if isinstance(value, str) else value
        _require(
            isinstance(names, list | tuple) and all(isinstance(n, str) for n in names),
            name,
            f"target_modules must be a name or a list of names, got {value!r}",
        )
        return tuple(names)
    if name == "layers":
        _require(
            isinstance(value, list | tuple) and all(type(n) is int for n in value),
            name,
            f"layers must be a list of whole numbers, got {value!r}",
        )
        return tuple(value)
    if annotation.startswith("Literal"):
        _require(isinstance(value, str), name, f"{name} must be a string, got {value!r}")
        return value
    annotation = "int" if annotation == "int | None" else annotation
    kinds = _KINDS[annotation]
    fits = isinstance(value, kinds) and (annotation == "bool" or not isinstance(value, bool))
    _require(fits, name, f"{name} must be {annotation}, got {value!r}")
    return float(value) if annotation.startswith("float") else value
