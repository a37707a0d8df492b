"""What tests of lazy arrays share."""

import pytest


class CountingSource:
    """An array of slices that counts the rows which are read from it."""

    def __init__(self, rows):
        self.rows, self.shape, self.dtype, self.n_rows = rows, rows.shape, rows.dtype, 0

    def __getitem__(self, key):
        self.n_rows += len(self.rows[key])
        return self.rows[key]


@pytest.fixture
def counting():
    """Wraps rows, to count those that are read."""
    return CountingSource
