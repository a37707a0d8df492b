"""Sparse X takes the memory of its batches once dense, whatever its size."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from sklearn.model_selection import GridSearchCV

from skkeras import KerasClassifier

# Peaks of resident memory, so in a process of its own; the first fit pays for TensorFlow.
SCRIPT = """
import resource, sys
import numpy as np
from scipy import sparse
from sklearn.model_selection import ShuffleSplit
from skkeras import KerasClassifier

n_rows, n_columns, per_row, n_trained, dtype = *map(int, sys.argv[1:5]), sys.argv[5]
rng = np.random.default_rng(0)
KerasClassifier(model__units=4, epochs=1).fit(rng.normal(size=(64, 4)), np.arange(64) % 2)
columns = rng.integers(n_columns, size=n_rows * per_row, dtype="int32")
starts = np.arange(0, n_rows * per_row + 1, per_row, dtype="int32")
X = sparse.csr_array((np.ones(len(columns), dtype), columns, starts), shape=(n_rows, n_columns))
y = rng.integers(2, size=n_rows)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
split = ShuffleSplit(1, train_size=n_trained, test_size=1000)
net = KerasClassifier(model__units=4, epochs=1, validation_split=split).fit(X, y)
assert len(net.predict(X[:n_trained])) == n_trained
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def peak_megabytes(*arguments):
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sparse_table_takes_the_memory_of_its_batches(dtype):
    # 20,000 x 20,000: 1.6 GB once dense, the rows to train on 0.4 GB.
    assert peak_megabytes(20_000, 20_000, 5, 5_000, dtype) < 200


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_a_sparse_table_of_a_million_rows_takes_the_memory_of_its_batches():
    # 1e6 x 1e5, density 1e-4: 400 GB once dense. An epoch over all of it takes minutes, and no
    # more memory, so it is trained on 2 GB of it.
    assert peak_megabytes(1_000_000, 100_000, 10, 5_000, "float32") < 250


def test_a_sparse_table_trains_as_the_dense_one():
    X = sparse.csr_array(np.maximum(np.random.default_rng(0).random((200, 30)) - 0.8, 0) * 5)
    y = (X.sum(axis=1) > 3).astype(int)
    net = KerasClassifier(model__units=8, epochs=3, random_state=0)
    dense = KerasClassifier(model__units=8, epochs=3, random_state=0).fit(X.toarray(), y)
    assert net.fit(X, y).history_ == dense.history_
    assert np.array_equal(net.predict_proba(X), dense.predict_proba(X.toarray()))
    search = GridSearchCV(net, {"model__units": [4, 8]}, cv=2, error_score="raise").fit(X, y)
    assert search.predict(X).shape == (200,)
