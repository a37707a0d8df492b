"""scikit-learn's tools over lazy arrays: they split views, and read nothing themselves."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skkeras import KerasClassifier, KerasRegressor, data

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

N_ROWS = 240
TABLE = np.random.default_rng(0).normal(size=(N_ROWS, 4)).astype("float32")
LABELS = np.array(["no", "yes"])[(TABLE[:, 0] > 0).astype(int)]
GROUPS = np.arange(N_ROWS) // 8
CUTS = [100, 160]


class Counting:
    """An array of slices that writes down how many bytes are read from it, in any process."""

    def __init__(self, rows, log):
        self.rows, self.shape, self.dtype, self.log = rows, rows.shape, rows.dtype, log
        log.write_bytes(b"")

    def __getitem__(self, key):
        rows = self.rows[key]
        with self.log.open("ab", buffering=0) as file:
            file.write(b"%d\n" % rows.nbytes)
        return rows

    @property
    def n_bytes(self):
        return sum(map(int, self.log.read_text().split()))


@pytest.fixture
def source(tmp_path):
    return Counting(TABLE, tmp_path / "log.txt")


@pytest.fixture
def lazy(source):
    """Blocks of 10 rows, of which none is kept."""
    return data.lazy(source).with_sizes(block_bytes=160, shuffle_bytes=800, cache_bytes=0)


@pytest.fixture
def files(tmp_path):
    for number, part in enumerate(np.split(TABLE, CUTS)):
        np.save(tmp_path / f"{number}.npy", part)
    return data.open_npy(tmp_path).with_sizes(block_bytes=160, shuffle_bytes=800)


@pytest.fixture
def in_memory():
    return data.lazy(*np.split(TABLE, CUTS)).with_sizes(block_bytes=160, shuffle_bytes=800)


def net(**parameters):
    defaults = {"model__units": 4, "epochs": 2, "batch_size": 16, "random_state": 0}
    return KerasClassifier(**defaults | parameters)


def groups_for(splitter):
    return GROUPS if isinstance(splitter, GroupKFold) else None


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"stratify": LABELS}], ids=str)
def test_train_test_split_is_lazy(lazy, source, options):
    X_train, X_test, y_train, y_test = train_test_split(lazy, LABELS, random_state=0, **options)
    assert isinstance(X_train, data.LazyArray)
    assert source.n_bytes == 0
    loaded = train_test_split(TABLE, LABELS, random_state=0, **options)
    for got, expected in zip((X_train, X_test, y_train, y_test), loaded, strict=True):
        np.testing.assert_array_equal(np.asarray(got), expected)


@pytest.mark.parametrize(
    "splitter",
    [
        KFold(3),
        KFold(3, shuffle=True, random_state=0),
        StratifiedKFold(3),
        TimeSeriesSplit(3),
        GroupKFold(3),
        ShuffleSplit(2, random_state=0),
    ],
    ids=lambda splitter: type(splitter).__name__,
)
def test_splitters_are_lazy(lazy, source, splitter):
    for train, test in splitter.split(lazy, LABELS, groups_for(splitter)):
        views = lazy[train], lazy[test]
        assert [len(view) for view in views] == [len(train), len(test)]
    assert source.n_bytes == 0
    np.testing.assert_array_equal(np.asarray(views[1]), TABLE[test])


def bytes_of(splitter, epochs=2):
    """What a fit on each fold has to read, and the prediction of the rest."""
    row = TABLE[0].nbytes
    splits = splitter.split(TABLE, LABELS, groups_for(splitter))
    return sum(row * (epochs * len(train) + len(test)) for train, test in splits)


# Blocks that a fold cuts are read as a whole, and one block before training, for its shape.
SLACK = 4 * 160


@pytest.mark.parametrize("splitter", [KFold(3), TimeSeriesSplit(3), GroupKFold(3)], ids=str)
def test_cross_validation_reads_a_fold_when_it_is_trained_on(lazy, source, splitter):
    scores = cross_val_score(net(), lazy, LABELS, cv=splitter, groups=groups_for(splitter))
    assert len(scores) == 3
    if not isinstance(splitter, GroupKFold):  # whose groups share blocks
        assert source.n_bytes <= bytes_of(splitter) + 3 * 2 * SLACK


def test_the_tools_give_what_they_give_on_arrays_in_the_same_blocks(files, in_memory):
    def results(X):
        curve = learning_curve(net(), X, LABELS, cv=2, train_sizes=[0.5, 1.0])
        return [
            cross_val_score(net(), X, LABELS, cv=StratifiedKFold(3)),
            cross_val_predict(net(), X, LABELS, cv=3, method="predict_proba"),
            cross_validate(net(), X, LABELS, cv=KFold(2), return_train_score=True)["train_score"],
            *curve,
            permutation_test_score(
                net(epochs=1), X, LABELS, cv=2, n_permutations=2, random_state=0
            )[1],
            BaggingClassifier(net(epochs=1), 2, random_state=0, max_samples=0.5)
            .fit(np.asarray(X), LABELS)
            .predict_proba(TABLE),
        ]

    for ours, expected in zip(results(files), results(in_memory), strict=True):
        np.testing.assert_array_equal(ours, expected)


GRID = {"optimizer__learning_rate": [0.001, 0.1]}


@pytest.mark.parametrize("backend, n_jobs", [("threading", 1), ("threading", 2)])
def test_a_grid_search_gives_the_same_in_threads(files, in_memory, backend, n_jobs):
    def scores(X):
        with joblib.parallel_config(backend, n_jobs=n_jobs):
            search = GridSearchCV(net(), GRID, cv=StratifiedKFold(3)).fit(X, LABELS)
        return search.cv_results_["mean_test_score"], search.predict_proba(X)

    for ours, expected in zip(scores(files), scores(in_memory), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.slow
def test_a_grid_search_in_processes_sends_paths_and_row_numbers(files, source, lazy):
    def scores(X, n_jobs):
        search = GridSearchCV(net(), GRID, cv=StratifiedKFold(3), n_jobs=n_jobs, refit=False)
        return search.fit(X, LABELS).cv_results_["mean_test_score"]

    alone = scores(files, None)
    with joblib.parallel_config("loky"):
        np.testing.assert_allclose(scores(files, 2), alone, atol=1e-6)
        # As many bytes are read by the workers as are needed, and no more.
        scores(lazy, 2)
    assert 0 < source.n_bytes <= 2 * (bytes_of(StratifiedKFold(3)) + 3 * 12 * SLACK)


def test_views_are_small_in_a_pickle(tmp_path):
    np.save(tmp_path / "large.npy", np.zeros((200_000, 8), "float32"))
    X = data.open_npy(tmp_path / "large.npy")
    for train, test in KFold(5).split(X):
        assert len(pickle.dumps((X[train], X[test]))) < 3_000
    for train, _ in KFold(5, shuffle=True, random_state=0).split(X):
        assert len(pickle.dumps(X[train])) < 4 * len(train) + 3_000


def test_a_pipeline_passes_rows_on(files, in_memory):
    scaled = FunctionTransformer(lambda X: X.map(lambda rows: rows * 2))
    pipes = [make_pipeline(scaled, net()).fit(X, LABELS) for X in (files, in_memory)]
    assert pipes[0].score(files, LABELS) == pipes[1].score(in_memory, LABELS)
    doubled = make_pipeline(FunctionTransformer(lambda X: X * 2), net()).fit(TABLE, LABELS)
    assert np.isfinite(doubled.predict_proba(TABLE)).all()


def test_a_plain_scaler_loads_all_it_is_given(files):
    pipe = make_pipeline(StandardScaler(), net()).fit(files, LABELS)
    loaded = make_pipeline(StandardScaler(), net()).fit(TABLE, LABELS)
    np.testing.assert_array_equal(pipe.predict_proba(files), loaded.predict_proba(TABLE))


def test_a_plain_scaler_over_what_no_memory_holds_says_what_to_use():
    X = data.lazy(np.broadcast_to(np.float32(0), (2**40, 4)))
    with pytest.raises(MemoryError, match="ArrayScaler\\(StandardScaler\\(\\)\\)"):
        StandardScaler().fit(X)


def test_labels_may_be_lazy_and_are_loaded(files):
    rows = files[:, :-1], files[:, -1]
    lazy, loaded = (
        KerasRegressor("linear", epochs=2, random_state=0).fit(rows[0], y)
        for y in (rows[1], np.asarray(rows[1]))
    )
    np.testing.assert_array_equal(lazy.predict(TABLE[:, :-1]), loaded.predict(TABLE[:, :-1]))
