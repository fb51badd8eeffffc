"""Damaged files of runs are read or refused in one line, in a moment and little memory."""

import resource

import pyarrow as pa
import pytest
from pyarrow import parquet

from bench.errors import UsageError
from bench.imports.tidy_file import read_tidy
from tests.faults.fuzz_imports import fuzz, sources


@pytest.mark.whole
def test_damaged_files_of_every_format_are_read_or_refused():
    found = list(fuzz(40, 7))
    assert [name for name, _, _, _ in found] == list(sources())
    assert sum(num_read for _, num_read, _, _ in found) > 0


def test_a_small_parquet_file_of_gigabytes_is_refused_before_it_is_read(tmp_path):
    """A hundred thousand times a text of 90 kB, told once."""
    method = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 90_000]))
    numbers = {name: [1.0] * 100_000 for name in ("lr", "seed", "loss", "initial_loss")}
    table = pa.table({"method": method, **numbers})
    for name, schema in (("dictionary", True), ("text", False)):  # without Arrow's schema it is read as plain text
        parquet.write_table(table, tmp_path / name, compression="zstd", store_schema=schema)
        assert (tmp_path / name).stat().st_size < 400_000
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(UsageError, match=r"9,000 MB of text; required at most 67 MB"):
            read_tidy(tmp_path / name)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
