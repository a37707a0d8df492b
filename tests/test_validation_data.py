"""Validation data: explicit, held out by fraction or splitter, and what early stopping does."""

import tracemalloc

import keras
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, PredefinedSplit, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from skkeras import KerasClassifier, KerasRegressor
from skkeras._holdout import MANY_ROWS, split_rows

X, Y = load_iris(return_X_y=True)
NAMES = load_iris().target_names[Y]
ORDER = np.random.default_rng(0).permutation(len(X))
TRAIN, VALIDATION = ORDER[:100], ORDER[100:]


def test_a_pipeline_scales_validation_data_and_encodes_its_labels():
    net = KerasClassifier(model__units=8, epochs=3, metrics=["accuracy"], random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(
            StandardScaler(),
            net.set_fit_request(X_val=True, y_val=True),
            transform_input=["X_val"],
        )
        pipe.fit(X[TRAIN], NAMES[TRAIN], X_val=X[VALIDATION], y_val=NAMES[VALIDATION])
    told = {name: values[-1] for name, values in pipe[-1].history_.items()}
    scaled = pipe[0].transform(X[VALIDATION])
    expected = pipe[-1].evaluate(scaled, NAMES[VALIDATION])
    assert told["val_loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert told["val_accuracy"] == pytest.approx(expected["accuracy"])
    raw = pipe[-1].evaluate(X[VALIDATION], NAMES[VALIDATION])
    assert abs(raw["loss"] - told["val_loss"]) > 0.1


def test_a_pipeline_trains_and_validates_as_by_hand():
    net = KerasClassifier(model__units=8, epochs=3, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(
            StandardScaler(),
            KerasClassifier(**net.get_params()).set_fit_request(X_val=True, y_val=True),
            transform_input=["X_val"],
        )
        pipe.fit(X[TRAIN], NAMES[TRAIN], X_val=X[VALIDATION], y_val=NAMES[VALIDATION])
    scaler = StandardScaler().fit(X[TRAIN])
    train, validation = scaler.transform(X[TRAIN]), scaler.transform(X[VALIDATION])
    net.fit(train, Y[TRAIN], X_val=validation, y_val=Y[VALIDATION])
    assert pipe[-1].history_ == net.history_
    probabilities = pipe.predict_proba(X[VALIDATION])
    expected = log_loss(NAMES[VALIDATION], probabilities)
    assert pipe[-1].history_["val_loss"][-1] == pytest.approx(expected, rel=1e-4)


def test_without_transform_input_validation_data_arrives_as_it_is():
    net = KerasClassifier(model__units=8, epochs=1, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(StandardScaler(), net.set_fit_request(X_val=True, y_val=True))
        pipe.fit(X[TRAIN], NAMES[TRAIN], X_val=X[VALIDATION], y_val=NAMES[VALIDATION])
    raw = pipe[-1].evaluate(X[VALIDATION], NAMES[VALIDATION])
    assert pipe[-1].history_["val_loss"][-1] == pytest.approx(raw["loss"], rel=1e-5)


class Weights(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


class BatchSizes(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.steps = self.params["steps"]


def test_a_fraction_is_held_out_stratified_and_shuffled(monkeypatch):
    seen = {}

    def spy(split, n_rows, labels, groups, seed):
        train, held_out = original(split, n_rows, labels, groups, seed)
        seen.update(train=train, held_out=held_out)
        return train, held_out

    import skkeras._examples

    original = skkeras._examples.split_rows
    monkeypatch.setattr(skkeras._examples, "split_rows", spy)
    net = KerasClassifier(model__units=8, epochs=1, validation_split=0.2, random_state=0)
    net.fit(X, NAMES)
    assert np.bincount(Y[seen["held_out"]]).tolist() == [10, 10, 10]
    assert not set(seen["train"]) & set(seen["held_out"])
    assert len(seen["train"]) + len(seen["held_out"]) == 150
    assert "val_loss" in net.history_


def test_early_stopping_restores_the_best_weights_and_tells_the_epoch():
    net = KerasClassifier(
        model__units=32,
        optimizer__learning_rate=0.1,
        epochs=200,
        early_stopping=True,
        validation_split=PredefinedSplit(np.where(np.isin(np.arange(150), VALIDATION), 0, -1)),
        random_state=0,
    ).fit(X, NAMES)
    losses = net.history_["val_loss"]
    assert net.n_iter_ == len(losses) < 200
    assert net.best_epoch_ == int(np.argmin(losses)) == net.n_iter_ - 11
    best = net.evaluate(X[VALIDATION], NAMES[VALIDATION])["loss"]
    assert best == pytest.approx(min(losses), rel=1e-5)
    assert best < losses[-1]


def test_early_stopping_holds_out_a_tenth_by_itself():
    steps = BatchSizes()
    net = KerasClassifier(
        model__units=8, epochs=2, batch_size=1, early_stopping=True, callbacks=steps
    ).fit(X, NAMES)
    assert net.callbacks_[0].steps == 135
    assert "val_loss" in net.history_


def positives(y_true, y_pred):
    """Metric: the share of the second class among the rows seen."""
    return y_true


@pytest.mark.parametrize("seed", range(3))
def test_early_stopping_holds_out_every_class_in_its_proportion(seed):
    y = np.repeat(["no", "yes"], [180, 20])
    rows = np.random.default_rng(0).standard_normal((200, 4))
    net = KerasClassifier(
        model__units=8, epochs=2, early_stopping=True, metrics=[positives], random_state=seed
    ).fit(rows, y)
    assert net.history_["positives"] == pytest.approx([0.1, 0.1])
    assert net.history_["val_positives"] == pytest.approx([0.1, 0.1])


def test_early_stopping_keeps_the_best_of_the_rows_it_held_out():
    rng = np.random.default_rng(0)
    # Labels of pure chance: whatever is learnt, validation gets worse.
    rows, y = rng.standard_normal((200, 4)), rng.permutation(np.repeat([0, 1], 100))
    net = KerasClassifier(
        model__units=32,
        optimizer__learning_rate=0.05,
        epochs=100,
        early_stopping=True,
        callbacks=Weights(),
        random_state=0,
    ).fit(rows, y)
    weights = net.callbacks_[0].weights
    losses = net.history_["val_loss"]
    assert net.best_epoch_ == int(np.argmin(losses))
    assert net.n_iter_ == len(losses) == len(weights) == net.best_epoch_ + 11 < 100
    kept = net.model_.get_weights()
    assert all(map(np.array_equal, kept, weights[net.best_epoch_]))
    assert not all(map(np.array_equal, kept, weights[-1]))


def test_early_stopping_watches_explicit_validation_data():
    net = KerasClassifier(
        model__units=32,
        optimizer__learning_rate=0.1,
        epochs=200,
        batch_size=1,
        early_stopping=True,
        callbacks=BatchSizes(),
        random_state=0,
    ).fit(X[TRAIN], NAMES[TRAIN], X_val=X[VALIDATION], y_val=NAMES[VALIDATION])
    # Nothing is held out besides.
    assert net.callbacks_[0].steps == len(TRAIN)
    best = net.evaluate(X[VALIDATION], NAMES[VALIDATION])["loss"]
    assert best == pytest.approx(min(net.history_["val_loss"]), rel=1e-5)


class SpyingGroupKFold(GroupKFold):
    splits = []  # noqa: RUF012  (the copy that a fit uses writes here, too)

    def split(self, X, y=None, groups=None):
        for train, test in super().split(X, y, groups):
            self.splits.append((train, test))
            yield train, test


def test_no_group_is_on_both_sides_of_a_group_split():
    groups = np.arange(150) // 5
    SpyingGroupKFold.splits.clear()
    with sklearn.config_context(enable_metadata_routing=True):
        net = KerasClassifier(
            model__units=8, epochs=1, validation_split=SpyingGroupKFold(5)
        ).set_fit_request(groups=True)
        make_pipeline(StandardScaler(), net).fit(X, NAMES, groups=groups)
    train, held_out = SpyingGroupKFold.splits[0]
    assert len(held_out) == 30
    assert not set(groups[train]) & set(groups[held_out])


def test_every_search_fold_holds_out_whole_groups():
    groups = np.arange(150) % 10
    SpyingGroupKFold.splits.clear()
    with sklearn.config_context(enable_metadata_routing=True):
        net = KerasClassifier(
            model__units=8, epochs=1, validation_split=SpyingGroupKFold(4)
        ).set_fit_request(groups=True)
        pipe = make_pipeline(StandardScaler(), net)
        grid = {"kerasclassifier__batch_size": [32, 64]}
        folds = GroupKFold(5)
        GridSearchCV(pipe, grid, cv=folds, refit=False, error_score="raise").fit(
            X, NAMES, groups=groups
        )
    # Two candidates on five folds; the rows of a fold are numbered anew.
    outer = [train for train, _ in folds.split(X, NAMES, groups)] * 2
    assert len(SpyingGroupKFold.splits) == 10
    for (train, held_out), rows in zip(SpyingGroupKFold.splits, outer, strict=True):
        assert len(train) + len(held_out) == len(rows) == 120
        assert not set(groups[rows][train]) & set(groups[rows][held_out])


def group_share(group):
    """Metric: the share of rows whose target is the number of a group."""

    def share(y_true, y_pred):
        return keras.ops.cast(keras.ops.equal(y_true, group), "float32")

    share.__name__ = f"group{group}"
    return share


def test_the_net_sees_each_group_on_one_side_only():
    groups = np.arange(120) % 4
    net = KerasRegressor(
        model__units=8,
        epochs=1,
        validation_split=GroupKFold(4),
        metrics=[group_share(group) for group in range(4)],
    ).fit(np.ones((120, 2)), groups.astype(float), groups=groups)
    trained = [net.history_[f"group{group}"][0] for group in range(4)]
    held_out = [net.history_[f"val_group{group}"][0] for group in range(4)]
    assert sorted(held_out) == [0, 0, 0, 1]
    expected = [0 if share else 1 / 3 for share in held_out]
    assert trained == pytest.approx(expected)


def test_validation_rows_are_never_trained_on():
    # A net that can only learn constants: what it learns is the mean of what it saw.
    def constant(n_outputs):
        layers = [keras.Input((1,)), keras.layers.Rescaling(0.0), keras.layers.Dense(n_outputs)]
        return keras.Sequential(layers)

    y = np.r_[np.zeros(50), np.full(50, 100.0)]
    split = PredefinedSplit(np.r_[np.full(50, -1), np.zeros(50)])
    net = KerasRegressor(constant, epochs=20, validation_split=split, random_state=0)
    net.fit(np.ones((100, 1)), y)
    assert np.all(net.predict(np.ones((1, 1))) == 0)


def test_half_of_a_pair_is_refused():
    with pytest.raises(ValueError, match="only one of X_val and y_val"):
        KerasClassifier(epochs=1).fit(X, Y, X_val=X)


def test_labels_that_training_never_saw_are_refused():
    with pytest.raises(ValueError, match="not seen in training: \\[2\\]"):
        KerasClassifier(epochs=1).fit(X[:100], Y[:100], X_val=X, y_val=Y)


class Masks:
    def split(self, X, y=None, groups=None):
        yield np.arange(len(X)) < 15, np.arange(len(X)) >= 15


@pytest.mark.parametrize("split", [0.25, ShuffleSplit(1, test_size=5), Masks()])
def test_numbers_of_held_out_rows_take_four_bytes_each_whatever_holds_them_out(split):
    train, validation = split_rows(split, 20, None, None, seed=0)
    assert (train.dtype, validation.dtype) == (np.int32, np.int32)
    assert sorted([*train, *validation]) == list(range(20))
    assert len(validation) == 5


@pytest.mark.parametrize("split", [0.1, 100_000])
@pytest.mark.parametrize("names", [np.array([0, 1, 2]), np.array(["a", "b", "c"])])
def test_many_rows_are_stratified_in_little_memory(split, names):
    n_rows = MANY_ROWS + 7
    labels = names[np.random.default_rng(0).choice(3, p=[0.2, 0.7, 0.1], size=n_rows)]
    tracemalloc.start()
    train, held_out = split_rows(split, n_rows, labels, None, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * n_rows  # of which the numbers themselves are four bytes each
    np.testing.assert_array_equal(np.sort([*train, *held_out]), np.arange(n_rows))
    share = len(held_out) / n_rows
    assert share == pytest.approx(0.1 if split == 0.1 else 100_000 / n_rows, abs=1e-5)
    for name in names:
        assert np.mean(labels[held_out] == name) == pytest.approx(np.mean(labels == name), abs=1e-5)
    np.testing.assert_array_equal(split_rows(split, n_rows, labels, None, seed=0)[1], held_out)
    assert not np.array_equal(split_rows(split, n_rows, labels, None, seed=1)[1], held_out)


def test_splits_of_many_rows_that_cannot_be_are_errors():
    labels = np.arange(MANY_ROWS) % 2
    for split in (1.5, MANY_ROWS, 0, 1, MANY_ROWS - 1):
        with pytest.raises(ValueError, match="can't be held out"):
            split_rows(split, MANY_ROWS, labels, None, seed=0)


def test_a_label_that_comes_once_cannot_be_stratified_among_many_rows():
    labels = np.arange(MANY_ROWS) == 5
    with pytest.raises(ValueError, match="least populated class"):
        split_rows(0.1, MANY_ROWS, labels, None, seed=0)


# Weights


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1, 1: 5, 2: 2}])
@pytest.mark.parametrize("given", [False, True], ids=["held out", "X_val"])
def test_rows_to_validate_on_count_by_the_class_weights_of_those_to_train_on(class_weight, given):
    is_held_out = np.isin(np.arange(150), VALIDATION) & (np.arange(150) > 20)
    weight = np.random.default_rng(0).integers(0, 3, 150).astype(float)
    net = KerasClassifier(epochs=2, class_weight=class_weight, random_state=0)
    held_out, train = np.flatnonzero(is_held_out), ~is_held_out
    if given:
        weight[held_out] = 1.0
        net.fit(X[train], Y[train], weight[train], X_val=X[held_out], y_val=Y[held_out])
    else:
        split = PredefinedSplit(np.where(is_held_out, 0, -1))
        net.set_params(validation_split=split).fit(X, Y, sample_weight=weight)
    sums = np.bincount(Y[train], weight[train])
    by_class = {None: np.ones(3), "balanced": sums.sum() / (3 * sums)}.get(
        class_weight if not isinstance(class_weight, dict) else "other", np.array([1.0, 5.0, 2.0])
    )
    chances = net.predict_proba(X[held_out])[np.arange(len(held_out)), Y[held_out]]
    own = weight[held_out] / weight[held_out].mean() * by_class[Y[held_out]]
    assert net.history_["val_loss"][-1] == pytest.approx(np.mean(own * -np.log(chances)), rel=1e-4)


@pytest.mark.parametrize("weight", [None, np.arange(150) % 4 + 1.0], ids=["none", "weights"])
@pytest.mark.parametrize("labels", [Y, np.stack([Y > 0, Y > 1], axis=1) * 1], ids=["one", "many"])
def test_balanced_classes_are_those_of_the_rows_to_train_on(labels, weight):
    is_held_out = (Y == 0) & (np.arange(150) < 40)
    net = KerasClassifier(epochs=2, class_weight="balanced", shuffle=False, random_state=0)
    split = PredefinedSplit(np.where(is_held_out, 0, -1))
    parts = [(X[rows], labels[rows]) for rows in (~is_held_out, is_held_out)]
    weights = None if weight is None else weight[~is_held_out]
    (x, y), (x_val, y_val) = parts
    given = net.fit(x, y, sample_weight=weights, X_val=x_val, y_val=y_val).history_["loss"]
    held_out = net.set_params(validation_split=split).fit(X, labels, sample_weight=weight)
    assert held_out.history_["loss"] == pytest.approx(given, rel=1e-5)


def test_training_is_that_of_the_rows_to_train_on_whatever_the_others_weigh():
    split = PredefinedSplit(np.where(np.isin(np.arange(150), VALIDATION), 0, -1))
    weight = np.where(np.isin(np.arange(150), VALIDATION), 9.0, 1.0)
    net = KerasClassifier(epochs=2, validation_split=split, random_state=0)
    histories = [
        net.fit(X, Y, sample_weight=given).history_ for given in (weight, np.ones(150), None)
    ]
    for history in histories[:2]:
        for name, values in histories[2].items():
            assert history[name] == pytest.approx(values, rel=1e-5)


def test_rows_of_no_weight_do_not_decide_when_to_stop():
    is_right = np.arange(150) % 2 == 0
    wrong = np.where(is_right, Y, (Y + 1) % 3)
    net = KerasClassifier(
        epochs=60, early_stopping=True, optimizer__learning_rate=0.01, random_state=0
    )
    net.fit(X, wrong, sample_weight=is_right.astype(float))
    assert net.best_epoch_ > 20
    assert net.score(X[is_right], Y[is_right]) > 0.9


def test_held_out_rows_without_any_weight_are_an_error():
    split = PredefinedSplit(np.where(np.isin(np.arange(150), VALIDATION), 0, -1))
    weight = np.where(np.isin(np.arange(150), VALIDATION), 0.0, 1.0)
    with pytest.raises(ValueError, match="sample_weight gives the rows to hold out weights from 0"):
        KerasClassifier(epochs=1, validation_split=split).fit(X, Y, sample_weight=weight)


class Parts:
    def __init__(self, *parts):
        self.parts = parts

    def split(self, X, y=None, groups=None):
        yield from self.parts


@pytest.mark.parametrize(
    "split, message",
    [
        (Parts(), "gives no split of 150 rows"),
        (PredefinedSplit(np.full(150, -1)), "gives no split of 150 rows"),
        (Parts((np.arange(150), np.arange(0))), "gives 150 and 0 of 150 rows"),
        (Parts((np.zeros(150, bool), np.ones(150, bool))), "gives 0 and 150 of 150 rows"),
    ],
)
def test_a_splitter_that_leaves_nothing_is_an_error(split, message):
    with pytest.raises(ValueError, match=message):
        KerasClassifier(epochs=1, validation_split=split).fit(X, Y)


def test_many_labels_that_are_times_are_stratified():
    times = np.array(["2020-01-01", "2021-01-01"], "datetime64[ns]")
    labels = times[(np.arange(MANY_ROWS) % 4 == 0).astype(int)]
    _, held_out = split_rows(0.25, MANY_ROWS, labels, None, seed=0)
    counts = np.unique(labels[held_out], return_counts=True)[1]
    assert counts.tolist() == [MANY_ROWS * 3 // 16, MANY_ROWS // 16]


def test_validation_has_a_batch_size_of_its_own():
    rows = {"X_val": X[VALIDATION], "y_val": Y[VALIDATION]}
    net = KerasClassifier(epochs=1, fit__validation_steps=1, fit__validation_batch_size=4)
    told = net.fit(X[TRAIN], Y[TRAIN], **rows).history_["val_loss"][-1]
    chances = net.predict_proba(X[VALIDATION[:4]])[np.arange(4), Y[VALIDATION[:4]]]
    expected = -np.log(chances).mean()
    assert told == pytest.approx(expected, rel=1e-4)


# Early stopping's settings


def test_settings_of_early_stopping_are_those_of_keras():
    net = KerasClassifier(
        early_stopping=True,
        early_stopping__patience=1,
        early_stopping__monitor="val_accuracy",
        early_stopping__mode="max",
        metrics=["accuracy"],
        optimizer="sgd",
        optimizer__learning_rate=0.0,
        epochs=20,
    ).fit(X, Y)
    assert net.n_iter_ == 2  # nothing improves after the first
    assert net.best_epoch_ == 0
    assert net.get_params()["early_stopping__patience"] == 1
    assert clone(net).set_params(early_stopping__patience=3).fit(X, Y).n_iter_ == 4


def test_a_score_that_is_watched_by_its_name_is_better_the_larger_it_is():
    options = {"scoring": ["accuracy", "neg_log_loss"], "epochs": 3, "random_state": 0}
    net = KerasClassifier(
        early_stopping=True, early_stopping__monitor="val_neg_log_loss", **options
    ).fit(X, Y)
    assert net.best_epoch_ == np.argmax(net.history_["val_neg_log_loss"])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"early_stopping": True, "early_stopping__patient": 3}, "Did you mean 'patience'"),
        (
            {"early_stopping": False, "early_stopping__patience": 3},
            "early_stopping=False doesn't use",
        ),
        ({"early_stopping": True, "early_stopping__patience": -1}, "must be >= 0"),
        ({"early_stopping": True, "early_stopping__monitor": "val_los"}, "expected one of them"),
        ({"early_stopping": "always"}, "expected one of"),
    ],
    ids=["unknown", "unused", "negative", "no such log", "no choice"],
)
def test_settings_that_cannot_be_used_are_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        KerasClassifier(epochs=1, **settings).fit(X, Y)


def test_auto_holds_rows_out_of_large_tables_only(monkeypatch):
    from skkeras import _examples

    net = KerasClassifier(epochs=1, early_stopping="auto", random_state=0)
    assert "val_loss" not in net.fit(X, Y).history_
    assert not hasattr(net, "best_epoch_")
    monkeypatch.setattr(_examples, "AUTO_ROWS", 150)
    assert net.fit(X, Y).best_epoch_ == 0
    assert "val_loss" in net.history_
    # Whoever says something of validation is taken at his word.
    given = net.fit(X[TRAIN], Y[TRAIN], X_val=X[VALIDATION], y_val=Y[VALIDATION])
    assert not hasattr(given, "best_epoch_")
    split = net.set_params(validation_split=0.2).fit(X, Y)
    assert not hasattr(split, "best_epoch_")
    assert "val_loss" in split.history_


def test_balanced_columns_of_labels_weigh_validation_data_by_the_training_rows():
    labels = np.stack([Y > 0, Y > 1], axis=1) * 1
    net = KerasClassifier(epochs=1, class_weight="balanced", random_state=0)
    net.fit(X[TRAIN], labels[TRAIN], X_val=X[VALIDATION], y_val=labels[VALIDATION])
    weight = compute_sample_weight("balanced", labels[TRAIN])
    by_row = {tuple(row): one for row, one in zip(labels[TRAIN], weight, strict=True)}
    own = [by_row[tuple(row)] for row in labels[VALIDATION]]
    chances = net.predict_proba(X[VALIDATION])
    right = np.where(labels[VALIDATION] == 1, chances, 1 - chances)
    expected = np.mean(own * -np.log(right).mean(axis=1))
    assert net.history_["val_loss"][-1] == pytest.approx(expected, rel=1e-4)


def test_settings_ask_for_early_stopping():
    net = KerasClassifier(early_stopping__patience=1, epochs=2, random_state=0).fit(X, Y)
    assert "val_loss" in net.history_
    rare = np.where(np.arange(150) == 0, 3, Y)
    with pytest.raises(ValueError, match="can't be held out"):
        net.fit(X, rare)


def test_auto_counts_rows_that_have_a_weight(monkeypatch):
    from skkeras import _examples

    monkeypatch.setattr(_examples, "AUTO_ROWS", 100)
    net = KerasClassifier(epochs=1, random_state=0)
    few = net.fit(X, Y, sample_weight=np.arange(150) % 50 == 0)
    assert "val_loss" not in few.history_
    assert "val_loss" in net.fit(X, Y, sample_weight=np.ones(150)).history_
