"""Whether a base model has what an adapter wants to attach to."""

from __future__ import annotations

from pando_shared.adapters import ALL_LINEAR, AdapterConfig, MeftConfig, PacaConfig
from pando_shared.catalogue import BaseModel
from pando_shared.errors import InvalidRequest

#: The names are a part of every answer that shows the job.
_MOST_NAMES, _LONGEST_NAME = 1000, 256


def require_targets(base: BaseModel, adapter: AdapterConfig) -> None:
    """Raises InvalidRequest for unknown or repeated target modules, unknown layers, or a PaCA rank
    wider than a target."""
    if isinstance(adapter, MeftConfig):
        if adapter.layers is not None and max(adapter.layers) >= base.layers:
            raise InvalidRequest(
                f"{base.name} has {base.layers} blocks, 0 to {base.layers - 1}; layers names "
                f"{max(adapter.layers)}",
                param="adapter.layers",
            )
        return
    _require_short(adapter.target_modules)
    widths = {linear.name: linear.in_features for linear in base.linears}
    targets = tuple(widths) if adapter.target_modules == ALL_LINEAR else adapter.target_modules
    # A dotted name ("self_attn.q_proj") picks among the linears of one leaf name.
    leaves = {name: name.rsplit(".", 1)[-1] for name in targets}
    unknown = [name for name, leaf in leaves.items() if leaf not in widths]
    if unknown:
        raise InvalidRequest(
            f"{base.name} has no module {', '.join(map(repr, unknown[:3]))}; it has: "
            f"{', '.join(sorted(widths))} (or 'all-linear' for every one)",
            param="adapter.target_modules",
        )
    narrowest = min(leaves.values(), key=lambda leaf: widths[leaf])
    if isinstance(adapter, PacaConfig) and adapter.rank > widths[narrowest]:
        raise InvalidRequest(
            f"rank {adapter.rank} is more than the {widths[narrowest]} input columns of "
            f"{narrowest!r} in {base.name}",
            param="adapter.rank",
        )


def _require_short(names: tuple[str, ...]) -> None:
    if len(set(names)) < len(names):
        wrong = "names a module twice"
    elif len(names) > _MOST_NAMES:
        wrong = f"has {len(names)} names, more than {_MOST_NAMES}"
    elif max(map(len, names)) > _LONGEST_NAME:
        wrong = f"has a name of more than {_LONGEST_NAME} characters"
    else:
        return
    raise InvalidRequest(f"target_modules {wrong}", param="adapter.target_modules")
