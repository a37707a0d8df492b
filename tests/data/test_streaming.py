"""Lazy arrays in training: every row once an epoch, in a new order, the same as in memory."""

import threading

import keras
import numpy as np
import pytest
from scipy import sparse
from sklearn.model_selection import GroupKFold, PredefinedSplit, StratifiedKFold, TimeSeriesSplit

from skkeras import KerasClassifier, KerasRegressor, data
from skkeras._engine.rows import Rows, begin_epoch, take_spans
from skkeras.data._shuffling import block_order

N_ROWS = 300
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(N_ROWS, 4)).astype("float32")
LABELS = (TABLE[:, 0] + TABLE[:, 1] > 0).astype(int)
CUTS = [70, 70, 130, 290]  # files of different lengths, one of them empty
SIZES = {"block_bytes": 160, "shuffle_bytes": 800}  # 10 rows a block, 50 in the buffer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for number, part in enumerate(np.split(TABLE, CUTS)):
        np.save(folder / f"{number}.npy", part)
    return folder


@pytest.fixture
def lazy(files):
    return data.open_npy(files).with_sizes(**SIZES)


@pytest.fixture
def in_memory():
    return data.lazy(*np.split(TABLE, CUTS)).with_sizes(**SIZES)


def classifier(**parameters):
    defaults = {"model__units": 4, "epochs": 3, "batch_size": 16, "random_state": 0}
    return KerasClassifier(**defaults | parameters)


def weights(net):
    return np.concatenate([w.ravel() for w in net.model_.get_weights()])


def epochs_of(X, n_epochs=2, subset=None, step=7):
    """The row numbers that each epoch takes, some at a time."""
    rows, generator = Rows(X, np.arange(N_ROWS, dtype="float32")), np.random.default_rng(0)
    rows = rows if subset is None else rows.only(subset)
    for _ in range(n_epochs):
        epoch = begin_epoch(rows, generator)
        starts = range(0, rows.n_rows, step)
        batches = [take_spans([(epoch, start, min(start + step, rows.n_rows))]) for start in starts]
        x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        yield x, y.astype(int)


@pytest.mark.parametrize("step", [1, 7, 50, 500])
def test_every_row_comes_once_an_epoch_with_its_target(lazy, step):
    first, second = epochs_of(lazy, step=step)
    for x, y in (first, second):
        assert sorted(y) == [*range(N_ROWS)]
        np.testing.assert_array_equal(x, TABLE[y])
    assert not np.array_equal(first[1], second[1])


@pytest.mark.parametrize("subset", [np.arange(0, 300, 3), RNG.permutation(300)[:120], [5]])
def test_held_out_rows_stay_out(lazy, subset):
    for x, y in epochs_of(lazy, subset=subset):
        assert sorted(y) == sorted(subset)
        np.testing.assert_array_equal(x, TABLE[y])


def test_views_in_any_order_are_streamed(lazy):
    mixed = np.random.default_rng(1).permutation(N_ROWS)
    for x, y in epochs_of(lazy[mixed]):
        np.testing.assert_array_equal(x, TABLE[mixed][y])
        assert sorted(y) == [*range(N_ROWS)]


def test_every_block_is_read_once_an_epoch(counting):
    source = counting(TABLE)
    X = data.lazy(source).with_sizes(**SIZES, cache_bytes=0)
    mixed = np.random.default_rng(1).permutation(N_ROWS)
    for view in (X, X[mixed]):
        source.n_rows = 0
        list(epochs_of(view, n_epochs=2))
        assert source.n_rows == 2 * N_ROWS


def test_a_buffer_mixes_several_blocks_and_an_epoch_all_of_them():
    ends = np.arange(100, 10_001, 100)
    order = block_order(ends, 1000, np.random.default_rng(0))
    groups = [order.group(number) for number in range(len(order.group_ends))]
    assert len(groups) == 10
    for rows, within in groups:
        assert len(np.unique(rows // 100)) == 10
        assert np.abs(np.diff(rows[within] // 100)).astype(bool).mean() > 0.8
    assert sorted(np.concatenate([rows for rows, _ in groups])) == [*range(10_000)]


def test_rows_that_fit_the_buffer_are_shuffled_as_a_whole(in_memory):
    (_, y), *_ = epochs_of(in_memory.with_sizes(shuffle_bytes=2**20))
    # A full shuffle puts two neighbours at a distance of a third of the data, on average.
    assert 80 < np.abs(np.diff(y)).mean() < 120


def test_without_shuffling_the_order_is_that_of_x(lazy):
    rows = Rows(lazy[::-1], np.arange(N_ROWS, dtype="float32"))
    epoch = begin_epoch(rows, None)
    _, y = take_spans([(epoch, 0, N_ROWS)])
    assert y.tolist() == [*range(N_ROWS)]
    nets = [classifier(shuffle=False).fit(X, LABELS) for X in (lazy, TABLE)]
    np.testing.assert_array_equal(*map(weights, nets))


OPTIONS = [
    {},
    {"validation_split": 0.2},
    {"validation_split": StratifiedKFold(4)},
    {"early_stopping": True},
    {"class_weight": "balanced"},
    {"callbacks": keras.callbacks.Callback},
    {"engine": "keras", "validation_split": 0.2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_training_on_files_is_bit_for_bit_that_on_arrays_in_the_same_blocks(
    lazy, in_memory, options
):
    nets = [classifier(**options).fit(X, LABELS) for X in (lazy, in_memory)]
    np.testing.assert_array_equal(*map(weights, nets))
    assert nets[0].history_ == nets[1].history_
    np.testing.assert_array_equal(nets[0].predict_proba(lazy), nets[1].predict_proba(TABLE))


def test_the_compiled_engine_and_keras_train_alike(lazy):
    compiled, keras_loop = (
        classifier(engine=engine, validation_split=0.2).fit(lazy, LABELS)
        for engine in ("compiled", "keras")
    )
    np.testing.assert_allclose(weights(compiled), weights(keras_loop), atol=1e-5)
    for name, values in compiled.history_.items():
        np.testing.assert_allclose(values, keras_loop.history_[name], atol=1e-5)


def test_seeds_decide_and_epochs_differ(lazy):
    one, same, other = (
        weights(classifier(random_state=seed).fit(lazy, LABELS)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_sample_weights_groups_and_partial_fit_go_with_their_rows(lazy, in_memory):
    weight = np.random.default_rng(0).uniform(0.5, 2, N_ROWS)
    groups = np.arange(N_ROWS) // 10
    nets = [
        classifier(validation_split=GroupKFold(4))
        .fit(X, LABELS, sample_weight=weight, groups=groups)
        .partial_fit(X[::2], LABELS[::2], sample_weight=weight[::2])
        for X in (lazy, in_memory)
    ]
    np.testing.assert_array_equal(*map(weights, nets))
    # A weight of 0 takes its row out of training.
    only = (groups < 15).astype(float)
    wrong = np.where(groups < 15, LABELS, 1 - LABELS)
    net = classifier(epochs=40).fit(lazy, wrong, sample_weight=only)
    assert net.score(lazy, LABELS) > 0.9


def test_explicit_validation_data_may_be_lazy(lazy):
    net = classifier().fit(lazy[:200], LABELS[:200], X_val=lazy[200:], y_val=LABELS[200:])
    results = net.evaluate(TABLE[200:], LABELS[200:])
    assert net.history_["val_loss"][-1] == pytest.approx(results["loss"], rel=1e-5)


def test_predictions_keep_the_order_of_rows(lazy):
    net = classifier().fit(lazy, LABELS)
    mixed = np.random.default_rng(2).permutation(N_ROWS)
    for view, rows in [(lazy[mixed], TABLE[mixed]), (lazy[::-2], TABLE[::-2]), (lazy, TABLE)]:
        np.testing.assert_array_equal(net.predict_proba(view), net.predict_proba(rows))


class Doubling(keras.Model):
    """A model that predicts in its own way."""

    def predict_step(self, batch):
        return 2 * super().predict_step(batch)


def test_models_that_keras_predicts_with_get_batches(lazy):
    def build(input_shape, n_outputs):
        inputs = keras.Input(input_shape)
        return Doubling(inputs, keras.layers.Dense(n_outputs)(inputs))

    net = KerasRegressor(build, epochs=1).fit(lazy, TABLE[:, 0])
    mixed = np.random.default_rng(2).permutation(N_ROWS)
    np.testing.assert_allclose(net.predict(lazy[mixed]), net.predict(TABLE[mixed]), atol=1e-6)


def test_predicting_rows_in_any_order_reads_every_block_once(counting):
    source = counting(TABLE)
    X = data.lazy(source).with_sizes(**SIZES, cache_bytes=0)
    net = classifier(epochs=1, predict__batch_size=20).fit(X, LABELS)
    source.n_rows = 0
    mixed = np.random.default_rng(2).permutation(N_ROWS)
    np.testing.assert_array_equal(net.predict(X[mixed]), net.predict(TABLE[mixed]))
    assert source.n_rows == N_ROWS


def test_one_of_several_inputs_may_be_lazy(lazy):
    def build(meta):
        inputs = {
            "table": keras.Input((4,), name="table"),
            "extra": keras.Input((1,), name="extra"),
        }
        joined = keras.layers.Concatenate()([inputs["table"], inputs["extra"]])
        return keras.Model(inputs, keras.layers.Dense(1)(joined))

    extra = np.arange(N_ROWS, dtype="float32")[:, None] / N_ROWS
    net = KerasRegressor(build, epochs=60, optimizer__learning_rate=0.05, random_state=0)
    y = TABLE[:, 0] + extra[:, 0]
    assert (
        net.fit({"table": lazy, "extra": extra}, y).score({"table": lazy, "extra": extra}, y) > 0.9
    )


def test_uint8_images_of_any_rank_are_streamed():
    images = np.random.default_rng(0).integers(256, size=(60, 6, 6, 2), dtype="uint8")
    X = data.lazy(images).with_sizes(block_bytes=300, shuffle_bytes=1500)
    dark = images.mean(axis=(1, 2, 3)) < 127
    net = KerasClassifier("cnn", model__filters=(2,), epochs=1, random_state=0).fit(X, dark)
    np.testing.assert_array_equal(net.predict_proba(X), net.predict_proba(images))


def test_rows_are_read_in_another_thread_and_it_ends():
    names = set()

    def note(rows):
        names.add(threading.current_thread().name.partition("_")[0])
        return rows

    X = data.lazy(TABLE).with_sizes(**SIZES).map(note)
    classifier().fit(X, LABELS)
    assert "skkeras-reader" in names
    assert not [one for one in threading.enumerate() if one.name.startswith("skkeras-reader")]


def test_a_builder_may_ask_for_lazy_rows(lazy):
    seen = []

    def build(X, input_shape, n_outputs, output_activation):
        seen.append(X)
        layer = keras.layers.Normalization()
        layer.adapt(np.asarray(X[:100]))
        return keras.Sequential(
            [keras.Input(input_shape), layer, keras.layers.Dense(n_outputs, output_activation)]
        )

    net = KerasClassifier(build, epochs=1, validation_split=0.2).fit(lazy, LABELS)
    assert isinstance(seen[0], data.LazyArray)
    assert len(seen[0]) == 240
    assert net.predict(lazy).shape == (300,)


@pytest.mark.parametrize("split", [TimeSeriesSplit(2), PredefinedSplit(np.arange(N_ROWS) % 5 - 1)])
@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_rows_that_are_not_shuffled_stay_in_the_order_of_a_view(lazy, split, engine):
    net = classifier(shuffle=False, validation_split=split, engine=engine)
    one, other = (weights(net.fit(X[::-1], LABELS)) for X in (lazy, TABLE))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("first", ["narrow", "wide"])
@pytest.mark.parametrize("are_lazy", [True, False])
def test_the_buffer_holds_all_inputs_and_targets(first, are_lazy):
    wide, narrow = np.zeros((N_ROWS, 100), "float32"), np.zeros((N_ROWS, 1), "float32")
    sizes = {"block_bytes": 600, "shuffle_bytes": 8_080}
    named = {"narrow": data.lazy(narrow).with_sizes(**sizes), "wide": wide}
    if are_lazy:
        named["wide"] = data.lazy(wide).with_sizes(**sizes)
    named = {first: named.pop(first), **named}
    rows = Rows(named, wide)
    assert rows.shuffle_rows == 8_080 // (4 * 201)
    order = begin_epoch(rows, np.random.default_rng(0)).order
    indices = [order.group(number)[0] for number in range(len(order.group_ends))]
    assert max(map(len, indices)) <= 2 * rows.shuffle_rows
    assert sorted(np.concatenate(indices)) == [*range(N_ROWS)]


def test_the_buffer_counts_what_a_sparse_input_holds():
    narrow = data.lazy(np.zeros((N_ROWS, 1), "float32")).with_sizes(shuffle_bytes=8_080)
    rows = Rows({"narrow": narrow, "csr": sparse.eye_array(N_ROWS, format="csr")})
    assert rows.shuffle_rows == 8_080 // (4 + 8 + 4)
