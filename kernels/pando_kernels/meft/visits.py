"""Which experts each token looks into, and the visits sorted by expert."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Visits:
    """T tokens look into P of E experts each: N = T · P visits, visit t · P + p being t's p-th.

    gates [T, P], the chosen experts' scores; experts int64 [T, P], ascending in each row; order
    int64 [N], the visits sorted by expert and then by token; starts int64 [E + 1]: expert e's
    visits are order[starts[e]:starts[e + 1]].
    """

    gates: Tensor
    experts: Tensor
    order: Tensor
    starts: Tensor

    @property
    def probes(self) -> int:
        return self.experts.shape[1]

    @property
    def probed(self) -> Tensor:
        """Whether anyone looks into an expert, bool [E]."""
        return self.starts[1:] > self.starts[:-1]


def visits_of(scores: Tensor, probes: int) -> Visits:
    """The `probes` experts of highest score for each token; scores [T, E]."""
    experts = scores.topk(probes, dim=1, sorted=False).indices.sort(dim=1).values
    flat = experts.flatten()
    order = flat.argsort(stable=True)
    bounds = torch.arange(scores.shape[1] + 1, device=scores.device)
    starts = torch.searchsorted(flat[order], bounds)
    return Visits(scores.gather(1, experts), experts, order, starts)
