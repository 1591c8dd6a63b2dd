"""Whether a base model has what an adapter wants to attach to."""

from __future__ import annotations

from pando_shared.adapters import ALL_LINEAR, AdapterConfig, MeftConfig, PacaConfig
from pando_shared.catalogue import BaseModel
from pando_shared.errors import InvalidRequest


def require_targets(base: BaseModel, adapter: AdapterConfig) -> None:
    """Raises InvalidRequest for unknown target modules or layers, or a PaCA rank wider than a
    target."""
    if isinstance(adapter, MeftConfig):
        if adapter.layers is not None and max(adapter.layers) >= base.layers:
            raise InvalidRequest(
                f"{base.name} has {base.layers} blocks, 0 to {base.layers - 1}; layers names "
                f"{max(adapter.layers)}",
                param="adapter.layers",
            )
        return
    widths = {linear.name: linear.in_features for linear in base.linears}
    targets = tuple(widths) if adapter.target_modules == ALL_LINEAR else adapter.target_modules
    # A dotted name ("self_attn.q_proj") picks among the linears of one leaf name.
    leaves = {name: name.rsplit(".", 1)[-1] for name in targets}
    unknown = [name for name, leaf in leaves.items() if leaf not in widths]
    if unknown:
        raise InvalidRequest(
            f"{base.name} has no module {', '.join(map(repr, unknown))}; it has: "
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
