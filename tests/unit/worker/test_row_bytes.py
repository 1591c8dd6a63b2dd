"""What the byte model says of a MEFT job's rows is what they take."""

from dataclasses import replace

import pytest
import torch
from factories import SMALL_BASE

from pando_kernels.meft.rows import RowShape, make_rows
from pando_shared.adapters import MeftConfig
from pando_shared.base_format import BaseFormat
from pando_shared.memory import host_row_bytes

BASE = replace(SMALL_BASE, hidden_size=10, layers=3)


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_rows_take_what_is_predicted(compute):
    adapter = MeftConfig(num_keys=21, top_k=2, num_experts=3)
    shape = RowShape(layers=3, experts=3, width=7, d=10)
    rows = make_rows(shape, lambda layer, keys: None, getattr(torch, compute))
    assert rows.bytes == host_row_bytes(BASE, adapter, BaseFormat(compute))
