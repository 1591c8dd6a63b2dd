"""LoRAFusion's fused layer (CentML/lorafusion), where a checkout of it is at hand."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from linear_peers import Run
from linear_problem import Problem

#: Its published limits.
_MOST_JOBS, _MOST_TOKENS = 4, 24576


class LoraFusion:
    """Its functions, imported from a checkout. Raises ImportError if that fails."""

    def __init__(self, checkout: Path):
        sys.path.insert(0, str(checkout))
        # For logging and for training on several GPUs, where they are not installed.
        if find_spec("loguru") is None:
            _stand_in("loguru", logger=SimpleNamespace(warning=print, info=print, debug=print))
        if find_spec("megatron") is None:
            _stand_in("megatron", core=_stand_in("megatron.core", parallel_state=None))
        # For its kernels' own tests, which would need more packages.
        _stand_in("lorafusion.utils.benchmark", benchmark=None, set_warmup_and_number=None)
        _stand_in("lorafusion.utils.testing", assert_verbose_allclose_two_rounds=None)
        from lorafusion.ops.triton_ops import config

        if _short_name() not in config.HARDWARE_CONFIGS:
            # Tile sizes are known for a few names only: other Hopper GPUs take those of the H100.
            config.get_hardware_config = lambda: config.H100_CONFIG
        from lorafusion.ops import multi_lora

        self._its: Any = multi_lora

    def layer(self, problem: Problem) -> Run | None:
        """Forward and backward of one linear; jobs' rows are padded to 128 as it requires."""
        case = problem.case
        starts = problem.layout.starts
        lengths = [stop - start for start, stop in pairwise(starts)]
        if case.jobs > _MOST_JOBS or len(problem.names) > 1:
            return None
        info = self._its.prepare_multi_lora_batch_info(
            seq_len_list=lengths,
            lora_idx_list=list(range(case.jobs)),
            lora_rank_list=[case.rank] * case.jobs,
            dropout_p_list=[0.0] * case.jobs,
            alpha_list=[2.0] * case.jobs,
            block_size_m=128,
        )
        rows = sum(info.padded_seq_len_list)
        if rows > _MOST_TOKENS:
            return None
        x = problem.x.new_zeros(1, rows, case.shape.inputs).requires_grad_()
        dy = problem.dy.new_zeros(1, rows, case.shape.outputs)
        with torch.no_grad():
            x[0, : case.tokens], dy[0, : case.tokens] = problem.x, problem.dy
        adapters = [job[problem.names[0]] for job in problem.lora.adapters.jobs]
        a, b = (
            [getattr(adapter, name).detach().requires_grad_() for adapter in adapters]
            for name in ("a", "b")
        )

        def run() -> object:
            y = self._its.fused_linear_multi_lora(
                padded_x=x,
                linear_w=problem.weight,
                lora_a_list=list(a),
                lora_b_list=list(b),
                seq_len_list=info.seq_len_list,
                padded_seq_len_list=info.padded_seq_len_list,
                block_to_lookup_table=info.block_to_lookup_table,
                block_to_dropout_p=info.block_to_dropout_p,
                block_to_alpha=info.block_to_alpha,
                enable_dropout=info.enable_dropout,
                same_dropout_p_value=info.same_dropout_p_value,
                max_r=info.max_r,
            )
            return torch.autograd.grad(y, [x, *a, *b], dy)

        return run


def _short_name() -> str:
    from lorafusion.utils.common import get_device_short_name

    return str(get_device_short_name())


def _stand_in(name: str, **attributes: Any) -> ModuleType:
    """A module with nothing but these attributes, in place of one that does no work here."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)  # others may look for it
    vars(module).update(attributes)
    sys.modules[name] = module
    return module
