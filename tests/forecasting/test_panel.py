"""Panels: which rows are of which series."""

import numpy as np
import pandas as pd
import pytest

from skkeras.forecasting._panel import parts_of, rows_by_group


@pytest.mark.parametrize("label", [None, np.nan, pd.NA, pd.NaT], ids=["None", "nan", "NA", "NaT"])
@pytest.mark.parametrize("form", [list, pd.Series, lambda labels: np.array(labels, object)])
def test_missing_labels_are_an_error(form, label):
    with pytest.raises(ValueError, match="groups has a missing label, .*Leave those rows out"):
        rows_by_group(form(["a", label, "a"]), 3)


def test_labels_of_several_types_are_an_error():
    with pytest.raises(ValueError, match="labels of several types.*Turn them into strings"):
        rows_by_group(np.array(["a", 1], object), 2)


def test_dates_are_labels():
    labels = pd.to_datetime(["2024-01-02", "2024-01-01"])
    for form in (labels, labels.as_unit("ns"), labels.to_numpy()):
        rows = rows_by_group(form, 2)
        np.testing.assert_array_equal(rows[pd.Timestamp("2024-01-01")], [1])


def test_an_index_that_counts_all_rows_says_nothing_of_one_series():
    X, groups = np.zeros((4, 1)), ["a", "a", "b", "b"]
    assert parts_of(X, pd.RangeIndex(4), groups)["b"].index is None
    assert list(parts_of(X, pd.RangeIndex(5, 9), groups)["b"].index) == [7, 8]
    assert parts_of(X, pd.RangeIndex(4), None)[None].index.equals(pd.RangeIndex(4))
