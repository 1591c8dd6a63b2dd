from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pando_worker.token_file import TokenFile, TokenFileWriter

token = st.integers(0, 2**32 - 1)
sequence = st.lists(st.tuples(token, st.booleans()), min_size=1, max_size=30).map(
    lambda pairs: ([t for t, _ in pairs], [False] + [flag for _, flag in pairs[1:]])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(sequences=st.lists(sequence, max_size=12))
def test_reads_what_was_written(
    tmp_path: Path, sequences: list[tuple[list[int], list[bool]]]
) -> None:
    with TokenFileWriter(tmp_path) as writer:
        for tokens, targets in sequences:
            writer.append(tokens, targets)

    file = TokenFile.open(tmp_path)

    assert len(file) == len(sequences)
    for i, (tokens, targets) in enumerate(sequences):
        read_tokens, read_targets = file.sequence(i)
        assert (read_tokens.tolist(), read_targets.tolist()) == (tokens, targets)
    assert file.lengths().tolist() == [len(tokens) for tokens, _ in sequences]
    assert file.target_counts().tolist() == [sum(targets) for _, targets in sequences]


def test_files_are_plain_numpy_of_the_stated_types_and_stay_on_disk(tmp_path: Path) -> None:
    with TokenFileWriter(tmp_path) as writer:
        writer.append([5, 6, 7], [False, False, True])

    assert np.load(tmp_path / "tokens.npy").dtype == np.uint32
    assert np.load(tmp_path / "targets.npy").dtype == np.bool_
    assert np.load(tmp_path / "offsets.npy").tolist() == [0, 3]
    assert isinstance(TokenFile.open(tmp_path).tokens, np.memmap)


@pytest.mark.parametrize(
    ("tokens", "targets"), [([], []), ([1, 2], [False]), ([1, 2], [True, False])]
)
def test_refuses_sequences_that_cannot_be_trained_on(
    tmp_path: Path, tokens: list[int], targets: list[bool]
) -> None:
    with TokenFileWriter(tmp_path) as writer, pytest.raises(ValueError, match="sequence"):
        writer.append(tokens, targets)


@pytest.mark.parametrize("index", [-1, 1])
def test_no_such_sequence(tmp_path: Path, index: int) -> None:
    with TokenFileWriter(tmp_path) as writer:
        writer.append([1, 2], [False, True])
    with pytest.raises(IndexError, match="holds 1"):
        TokenFile.open(tmp_path).sequence(index)
