"""Tables as values, and the pages that they lie in."""

import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastweights.core import memory
from fastweights.core.table import RowDelta, Table

MB = 1 << 20
Writes = list[tuple[int, list[int], float]]
writes = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 19), min_size=1, max_size=5, unique=True), st.floats(-2, 2)),
    max_size=12,
)


@given(writes, st.booleans())
def test_each_version_stays_what_it_was(todo: Writes, large: bool) -> None:
    """Against copies of a dense array; writes begin from versions old and new."""
    rows = MB // 4 if large else 20  # from 1 MB on in pages of their own
    versions, naive = [Table.zeros(1, rows)], [torch.zeros(1, 20)]
    for at, places, value in todo:
        at = min(at, len(versions) - 1)
        rows_N = torch.tensor(sorted(places))
        values_BN = torch.full((1, len(places)), value)
        versions.append(versions[at].plus(RowDelta(rows_N, values_BN)))
        naive.append(naive[at].clone())
        naive[-1][:, rows_N] += values_BN
    for table, dense in zip(versions, naive, strict=True):
        assert torch.equal(table.read(torch.arange(20)[None]), dense)
        entries = table.entries()
        assert entries["rows"].tolist() == dense[0].nonzero()[:, 0].tolist()
        assert torch.equal(table.filled(entries).read(torch.arange(20)[None]), dense)


def test_large_zeros_are_resident_only_once_written_and_leave_with_their_tensor() -> None:
    gc.collect()
    before = memory.start_peak()
    if before is None:
        pytest.skip("where a process's peak can be read")
    zeros_BR = memory.zeros(8, 4 * MB)  # 128 MB
    assert zeros_BR.shape == (8, 4 * MB)
    assert not zeros_BR[:, :: MB // 4].any()
    assert (memory.peak() or 0) - before < 32 * MB
    zeros_BR[0].fill_(1)
    assert not zeros_BR[1].any()
    del zeros_BR
    after = memory.start_peak()
    assert after is not None
    assert after - before < 8 * MB
