"""Cross-entropy of rows of logits, and its gradient made in the same go."""

from __future__ import annotations

from torch import Tensor

from pando_kernels.backend import runs_triton


def cross_entropy_(
    logits: Tensor, labels: Tensor, weights: Tensor | None, softcap: float = 0.0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Loss per row and, if `weights` is given, the gradient of Σ weights · loss.

    Args:
        logits: [c, V], overwritten.
        labels: int64 [c].
        weights: fp32 [c], or None if no gradient is wanted.
        softcap: Gemma's bound on logits, softcap · tanh(logits / softcap); 0: none.

    Returns:
        losses fp32 [c]; hits bool [c], whether no logit is above the label's; d(logits) [c, V], of
        the logits' type.
    """
    if runs_triton(logits):
        from pando_kernels.triton import cross_entropy as compiled

        return compiled.cross_entropy_(logits, labels, weights, softcap)
    wide, label = logits.float(), labels[:, None]
    slope = None
    if softcap:
        wide.div_(softcap).tanh_()
        slope = None if weights is None else 1.0 - wide.square()
        wide.mul_(softcap)
    wide.sub_(wide.amax(1, keepdim=True))
    at_label = wide.gather(1, label)
    total = wide.exp_().sum(1, keepdim=True)  # wide now holds exp(logit - max)
    losses, hits = (total.log() - at_label).squeeze(1), at_label.squeeze(1) == 0.0
    if weights is None:
        return losses, hits, None
    weight = weights[:, None]
    wide.mul_(weight / total)
    wide.scatter_add_(1, label, -weight)
    if slope is not None:
        wide.mul_(slope)
    return losses, hits, wide.to(logits.dtype)
