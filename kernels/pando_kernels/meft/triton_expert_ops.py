"""`ExpertOps` on a GPU. Sums are made in the same order every time."""

from pando_kernels.triton.meft_combine import combine
from pando_kernels.triton.meft_lookup import lookup
from pando_kernels.triton.meft_select import select, unselect
from pando_kernels.triton.meft_weigh import weigh

__all__ = ["combine", "lookup", "select", "unselect", "weigh"]
