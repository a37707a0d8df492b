"""Examples: X and y, checked where data come in, on their way to the engine.

Three kinds have the same methods: `Table`, `StreamExamples` and the forecaster's `WindowExamples`.
Each is made once; it is learnt from, split, weighed and encoded.
"""

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from skkeras._class_weights import (
    balanced,
    balanced_indicators,
    by_output_name,
    weigh_indicators,
    weigh_labels,
    weigh_outputs,
)
from skkeras._dataframes import names_of
from skkeras._engine.rows import Rows, leaves, map_leaves, n_samples
from skkeras._holdout import AUTO_ROWS, split_rows
from skkeras._keras_objects.internals import input_specs
from skkeras._sample_weights import (
    check_any_weight,
    check_outputs,
    fitted_weights,
    output_facts,
    training_weights,
    weighed_shape,
)
from skkeras._targets.base import MultiOutput, blocks, encoded, in_memory, label_counts, spans
from skkeras._targets.regression import moments
from skkeras.data._arrays import LazyArray
from skkeras.data._named import NamedArrays


class DataTagsMixin:
    """Tells scikit-learn which data an estimator takes; put it before scikit-learn's mixins."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.input_tags.dict = True
        if tags.classifier_tags is None:
            tags.target_tags.multi_output = True
        else:
            tags.classifier_tags.multi_label = True
        return tags


def by_name(arrays):
    """Return NamedArrays as the dict they are, and all else as it is."""
    return dict(arrays.items()) if isinstance(arrays, NamedArrays) else arrays


def check_inputs(estimator, X, *, reset):
    """Check X as scikit-learn does, for every kind of input that a net takes.

    X is a table, an array of any rank above 1 (lazy, sparse), a string for each sample, or named
    inputs; it isn't copied where it needn't be, and not read. With ``reset`` the estimator learns
    ``n_features_in_`` and ``feature_names_in_``; without, X is checked against them.
    """
    X = by_name(X)
    if reset:  # of an earlier X, of another kind
        for name in ("n_features_in_", "feature_names_in_", "_input_columns"):
            vars(estimator).pop(name, None)
    if isinstance(X, dict) and not issparse(X):  # SciPy's DOK matrices are dicts
        _check_columns(estimator, X, reset=reset)
        checked = {str(name): _check_named(value, str(name)) for name, value in X.items()}
        check_consistent_length(*checked.values())
        return checked
    if isinstance(X, LazyArray):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return _check_lazy(X, "X", min_ndim=2)
    if _is_text(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return _check_text(X)
    X = validate_data(
        estimator, X, accept_sparse="csr", allow_nd=True, dtype=_dtype(X), reset=reset
    )
    return _check_any_value(_as_numbers(X, "X"), "X")


def check_targets(estimator, X, y, *, reset, numeric=False, allow_nan=False):
    """Check X and y together, as `check_inputs` does; y may have any rank, and is finite.

    y is by name for several outputs, and stays lazy only if X is lazy, too. Numbers in it may be
    NaN with ``allow_nan``.
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None."
        )
    y = by_name(y)
    _check_no_list_of_inputs(X, y)
    X = check_inputs(estimator, X, reset=reset)
    _check_no_list_of_outputs(X, y)
    is_read = any(isinstance(part, LazyArray) for part in _parts(X))
    check = functools.partial(_check_target, numeric=numeric, is_read=is_read, allow_nan=allow_nan)
    if isinstance(y, dict):
        y = {str(k): check(v, f"y[{k!r}]") for k, v in y.items()}
    else:
        y = check(y, "y")
    check_consistent_length(*_parts(X), *_parts(y))
    return X, y


def _check_no_list_of_inputs(X, y):
    """Raise for a list of several inputs, as Keras takes them: it would be one of samples."""
    n_rows = {part.shape[:1] for part in _parts(y) if hasattr(part, "shape")}
    if not isinstance(X, list | tuple) or len(n_rows) != 1 or (len(X),) in n_rows:
        return
    if all(getattr(part, "shape", ())[:1] in n_rows for part in X):
        raise TypeError(
            f"X is a {type(X).__name__} of {len(X)} arrays, each as long as y; expected several "
            "inputs by their names: {'a': ..., 'b': ...}, for a net with inputs of these names, or "
            "skkeras.data.NamedArrays of such a dict, which scikit-learn can split."
        )


def _check_no_list_of_outputs(X, y):
    """Raise for a list of the targets of several outputs, as Keras takes them."""
    n_rows = n_samples(X)
    if not isinstance(y, list | tuple) or len(y) in (0, n_rows):
        return
    if all(getattr(part, "shape", ())[:1] == (n_rows,) for part in y):
        raise TypeError(
            f"y is a {type(y).__name__} of {len(y)} arrays, each as long as X; expected the "
            "targets of several outputs by their names: {'a': ..., 'b': ...}, for a net with "
            "outputs of these names, or skkeras.data.NamedArrays of such a dict, which "
            "scikit-learn can split."
        )


def _parts(arrays):
    return [*arrays.values()] if isinstance(arrays, dict) else [arrays]


def _check_target(y, name, *, numeric, is_read, allow_nan=False):
    kinds = "biuf" if numeric else "biufU"
    if is_read and isinstance(y, LazyArray) and y.dtype.kind in kinds:
        return _check_lazy(y, name, kinds, allow_nan=allow_nan)
    if numeric and _is_text(y):
        raise ValueError(
            f"{name} holds strings; expected numbers. Use a KerasClassifier to learn labels."
        )
    check = functools.partial(
        check_array,
        accept_sparse="csr",
        ensure_2d=False,
        allow_nd=True,
        dtype="numeric" if numeric else None,
        input_name=name,
    )
    try:
        y = check(y, ensure_all_finite="allow-nan" if allow_nan else True)
    except ValueError as error:
        if not str(error).startswith(f"Input {name} contains NaN"):
            raise
        raise ValueError(
            f"{error} Leave those rows out; or set allow_nan_targets=True, for numbers and a loss "
            "of your own that leaves NaN out."
        ) from error
    if y.dtype == object and y.ndim == 2:
        y = np.array(y.tolist())  # as of a DataFrame with a dtype of its own for integers
    return _as_numbers(y, name, allow_nan=allow_nan) if numeric else y


def _check_lazy(X, name, kinds="biuf", min_ndim=1, *, allow_nan=False):
    """Check what can be told without reading; values are when they are read."""
    if X.ndim < min_ndim:
        raise ValueError(
            f"Expected 2D array, got 1D array instead: {name} is {X!r}. Reshape your data by "
            f"{name}[:, None] if it has a single feature."
        )
    if X.dtype.kind not in kinds:
        raise ValueError(
            f"{name} is {X!r}; expected numbers. Load strings by numpy.asarray({name})."
        )
    if not len(X):
        raise ValueError(f"Found array with 0 sample(s) in {name}; expected at least one.")
    X = _check_any_value(X, name)
    return X if allow_nan else X.finite(name)


def _check_any_value(X, name):
    """Raise if rows are empty, which would end the process: TensorFlow's kernels abort."""
    if 0 in X.shape[1:]:
        raise ValueError(
            f"Found array with 0 feature(s) in {name}, whose shape is {X.shape}; expected rows "
            "with at least one value."
        )
    return X


def _check_named(value, name):
    if isinstance(value, LazyArray):
        return _check_lazy(value, f"X[{name!r}]")
    if _is_text(value):
        return _check_text(value)
    try:
        value = check_array(
            value,
            accept_sparse="csr",
            allow_nd=True,
            ensure_2d=False,
            dtype=_dtype(value),
            input_name=f"X[{name!r}]",
        )
    except ValueError as error:
        if f"X[{name!r}]" in str(error):
            raise
        raise ValueError(
            f"X[{name!r}] can't be used: {error}. Expected numbers, or strings alone."
        ) from error
    return _check_any_value(_as_numbers(value, f"X[{name!r}]"), f"X[{name!r}]")


def _check_columns(estimator, X, *, reset):
    """Check that frames among named inputs have the columns of training, in their order."""
    columns = {str(name): names_of(value) for name, value in X.items()}
    if reset:
        estimator._input_columns = columns
    for name, expected in getattr(estimator, "_input_columns", {}).items():
        got = columns.get(name)
        if got is not None and expected is not None and got != expected:
            raise ValueError(
                f"X[{name!r}] has the columns {got}; expected {expected}, as in training. Choose "
                "them by name, in this order."
            )


def _as_numbers(X, name, *, allow_nan=False):
    """Turn what scikit-learn leaves as objects, lists with None in them, into numbers."""
    if not isinstance(X, np.ndarray) or X.dtype.kind != "O":
        return X
    return check_array(
        X,
        allow_nd=True,
        ensure_2d=False,
        dtype="float64",
        input_name=name,
        ensure_all_finite="allow-nan" if allow_nan else True,
    )


def _check_text(X):
    X = np.asarray(X, dtype=object)
    if not len(X):
        raise ValueError("X is empty; expected at least one string.")
    if not all(isinstance(text, str) for text in X.flat):
        raise ValueError(
            "X mixes strings with other values (missing ones, perhaps); expected a string for "
            "each sample."
        )
    return X


def _is_text(X):
    """Tell whether X is strings, one or a row of them for each sample."""
    if hasattr(X, "toarray") or isinstance(X, str | bytes) or not hasattr(X, "__len__"):
        return False
    if hasattr(X, "iloc") and getattr(X, "ndim", 1) == 2:
        return all(_is_text(X.iloc[:, i]) for i in range(X.shape[1])) and X.shape[1] > 0
    if hasattr(X, "dtype") and getattr(X.dtype, "kind", "O") not in "OUST":
        return False
    array = X if isinstance(X, np.ndarray) else np.asarray(_first_known(X))
    return array.dtype.kind in "UT" or (
        array.dtype.kind == "O" and any(isinstance(one, str) for one in _first_known(array.flat))
    )


def _first_known(values):
    """Return the first value that isn't missing, in a list; an empty one if all are."""
    return [*itertools.islice((one for one in values if not _is_missing(one)), 1)]


def _is_missing(value):
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or type(value).__name__ == "NAType"  # pandas's


def _dtype(X):
    """Keep the floats and ints that a net may want; everything else becomes a float."""
    kind = getattr(getattr(X, "dtype", None), "kind", None)
    return None if kind in ("f", "i", "u") else "numeric"


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Checked inputs and targets that can be indexed; ``given`` are the user's own."""

    X: Any
    y: Any = None
    sample_weight: Any = None
    given: tuple = (None, None)

    are_gathered = False  # from a smaller array, see `Rows`

    @functools.cached_property
    def specs(self):
        """Shape and dtype of the inputs, see `input_specs`."""
        return input_specs(self.X)

    @property
    def targets(self):
        """What the kind of the targets is learnt from."""
        return self.y

    def shown(self, rows):
        """Return the inputs of some rows (all for None) to a builder that asks for them.

        Rows of weight 0 are left out, as if they weren't there.
        """
        weight = self._row_weight
        if weight is not None and not weight.all():
            rows = np.arange(len(weight)) if rows is None else np.asarray(rows)
            rows = rows[weight[rows] != 0]
        return map_leaves(functools.partial(_shown, rows=rows), self.X)

    @property
    def _row_weight(self):
        """The weights, if there is one for each row; else None."""
        weight = self.sample_weight
        if weight is None or isinstance(by_name(weight), dict):
            return None
        weight = np.asarray(weight)
        return weight if weight.shape == (n_samples(self.X),) else None

    def can_spare(self, least_rows=None):
        """Tell whether it is a table of so many rows that some may be held out unasked."""
        least_rows = AUTO_ROWS if least_rows is None else least_rows
        weight = self._row_weight
        n_rows = n_samples(self.X) if weight is None else np.count_nonzero(weight)
        return np.ndim(self.X) == 2 and n_rows >= least_rows

    def split(self, split, wanted, target, groups, seed):
        """Split the row numbers, see `split_rows`; stratified if there are labels."""
        return split_rows(split, n_samples(self.X), target.strata(self.y), groups, seed)

    def moments(self, target, rows):
        """Return the moments of the targets of some rows (None: all); by output; None of classes.

        See `skkeras._targets.regression.moments`.
        """
        if isinstance(target, MultiOutput):
            every = {n: self._output(n).moments(one, rows) for n, one in target.targets.items()}
            return {name: one for name, one in every.items() if one is not None} or None
        if target.classes is not None:
            return None
        weight = self._row_weight
        if rows is None:
            return moments(self.y, weight)
        return moments(self.y[rows], None if weight is None else weight[rows])

    def weights(self, rows, facts):
        """Return the weights of all examples, relative to those of ``rows``; or None.

        By output if they are given so, and (n_samples, ...) if positions have weights.
        """
        if self.sample_weight is None:
            return None
        given = by_name(self.sample_weight)
        if not isinstance(given, dict):
            return training_weights(given, self.X, rows, weighed_shape(self.y, facts))
        check_outputs(given, self.y)
        return {
            name: self._output(name).weights(rows, output_facts(facts, name)) for name in self.y
        }

    def _output(self, name):
        weight = by_name(self.sample_weight)
        weight = weight.get(name) if isinstance(weight, dict) else weight
        return Table(self.X, self.y[name], weight)

    def class_weights(self, class_weight, target, rows, facts):
        """Return a function ``(y, weight)`` that weighs rows by their labels as well."""
        if isinstance(target, MultiOutput):
            weigh = {
                name: self._output(name).class_weights(
                    one, target.targets[name], rows, output_facts(facts, name)
                )
                for name, one in by_output_name(class_weight, target).items()
            }
            return functools.partial(weigh_outputs, weigh)
        if target.labels(self.y[:1]) is None:
            if class_weight == "balanced":
                class_weight = balanced_indicators(self.y, rows)
            return functools.partial(weigh_indicators, class_weight)
        if class_weight == "balanced":
            class_weight = balanced(self._weight_by_label(target, rows, facts))
        weigh = functools.partial(weigh_labels, class_weight, target)

        def weigh_blocks(y, weight):
            # Weights are in memory, so labels may be, too.
            return encoded(weigh, y) if weight is None else encoded(weigh, in_memory(y), weight)

        return weigh_blocks

    def _weight_by_label(self, target, rows, facts):
        """Sum up the weights of each label, among some rows: one of weight 2 counts twice."""
        parts = [*(spans(self.y.shape[0], 8) if rows is None else blocks(rows))]
        weight = self.weights(rows, facts)
        weights = None if weight is None else (np.asarray(weight[part]) for part in parts)
        return label_counts((target.labels(in_memory(self.y[part])) for part in parts), weights)

    def sources(self, target, facts, parts=None, class_weights=None):
        """Return `Rows` to train on and held-out ones (or None), encoded and weighed.

        ``parts`` are the rows of each. Class weights are those of the rows to train on, and weigh
        the others, too: what is watched is the loss that is trained, on other rows.
        """
        rows = encode(self, target, facts)
        train, held_out = parts or (None, None)
        training = self._weighed(rows, train, facts, class_weights)
        if parts is None:
            return training, None
        validation = self._weighed(rows, held_out, facts, class_weights, "hold out")
        return training.only(train), validation.only(held_out)

    def _weighed(self, encoded_rows, rows, facts, class_weights, use="train on"):
        """Give encoded rows their weights, None for none; some of ``rows`` have to have one."""
        weight, name = self.weights(rows, facts), "sample_weight"
        if class_weights is not None:
            weight = class_weights(self.y, weight)
            name = "sample_weight, together with class_weight,"
        if weight is None:
            return encoded_rows
        for one in leaves(weight):
            check_any_weight(one, rows, name, use)
        return dataclasses.replace(encoded_rows, weight=fitted_weights(weight, self.y, facts))


def _shown(X, rows):
    X = X if rows is None else X[rows]
    return X.toarray() if issparse(X) else X  # Keras's layers adapt to arrays


def encode(examples, target, facts):
    """Put examples into the form that a net of these `NetFacts` takes, as `Rows` without weights.

    Raises ValueError if they are of other shapes or dtypes than in training.
    """
    if examples.specs != facts.x_specs:
        raise ValueError(
            f"X has rows of shape and dtype {examples.specs}; expected {facts.x_specs}, as in "
            "training."
        )
    inputs = {"x_dtypes": facts.x_dtypes, "are_gathered": examples.are_gathered}
    if examples.y is None:
        return Rows(examples.X, **inputs)
    y = target.encode(examples.y, facts.output_shape, facts.loss)
    y_dtypes = map_leaves(lambda leaf: "int32" if leaf.dtype == np.int32 else facts.float_dtype, y)
    return Rows(examples.X, y, **inputs, y_dtypes=y_dtypes, weight_dtype=facts.float_dtype)
