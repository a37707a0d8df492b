"""Targets: what y is, which loss and output layer it asks for, and the way back to predictions.

A target learns from y once, encodes any y of its kind for Keras, and decodes what the net puts
out into what scikit-learn expects.
"""

import functools

import numpy as np
from scipy.special import expit, softmax
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from skkeras._encoding import blocks, encoded, few_rows
from skkeras._losses import (
    BINARY_LOSSES,
    CATEGORICAL_LOSSES,
    RANGES,
    ROW_LOSSES,
    SPARSE_LOSSES,
    LossFacts,
    loss_name,
)
from skkeras.data._arrays import LazyArray


class _Encoding:
    """What the targets of one output share: rows are encoded whole, or when they are taken."""

    def encode(self, y, output_shape, loss):
        """Turn targets into what the loss takes.

        Returns
        -------
        encoded : array or Encoded
            Of the shape and dtype that `encode_rows` returns.

        Raises
        ------
        ValueError
            If they are of another kind than in the first fit, or the loss isn't defined for them.
        """
        y = _as_array(y)
        self.check(y, loss)
        encode = functools.partial(self.encode_rows, output_shape=output_shape, loss=loss)
        return encoded(encode, y)


class Labels(_Encoding):
    """One label for each sample, of any dtype.

    Parameters
    ----------
    y : array of shape (n_samples,)
        The labels that were seen.
    """

    indicator = False

    def __init__(self, y):
        try:
            self.classes = np.unique(y)
        except TypeError as error:
            kinds = sorted({type(label).__name__ for label in np.asarray(y).flat})
            raise TypeError(
                f"y has labels of the types {', '.join(kinds)}, which have no order; expected one "
                "type. Turn them into strings, and fill in or leave out what is missing."
            ) from error
        self.kind = "binary" if len(self.classes) == 2 else "multiclass"
        if len(self.classes) < 2:
            raise ValueError(
                f"y has one class, {self.classes.tolist()[0]!r}; expected at least 2 classes to "
                "tell apart."
            )

    @property
    def n_classes(self):
        """Number of labels."""
        return len(self.classes)

    @property
    def n_outputs(self):
        """Units of the output layer that a builder is asked for."""
        return 1 if self.kind == "binary" else len(self.classes)

    @property
    def output_activation(self):
        """Activation of the output layer that a builder is asked for."""
        return "sigmoid" if self.kind == "binary" else "softmax"

    def default_loss(self, output_shape):
        """Name the loss for a net with such outputs; the first axis is left out."""
        return "binary_crossentropy" if output_shape in ((), (1,)) else self._many_unit_loss

    _many_unit_loss = "sparse_categorical_crossentropy"

    def check_net(self, output_shape, loss):
        """Raise if the net's outputs or its loss can't learn these labels."""
        n_classes = len(self.classes)
        allowed = [(n_classes,)] + [(), (1,)] * (self.kind == "binary")
        if output_shape not in allowed:
            raise ValueError(
                f"The net's outputs have shape {_shape(output_shape)}; y has {n_classes} classes, "
                f"which take {_shape(allowed[-1])}. Let the builder take n_outputs and give its "
                "last layer that many units."
            )
        if loss.name in CATEGORICAL_LOSSES | ROW_LOSSES and output_shape in ((), (1,)):
            raise ValueError(
                f"loss={loss.name!r} doesn't fit a net with one output unit: it compares classes, "
                "each with a unit of its own. Use loss='binary_crossentropy', or a last layer of "
                f"{n_classes} units with softmax."
            )

    def check(self, y, loss):
        """Raise unless y has the shape of labels."""
        if y.ndim != 1 and y.shape[1:] != (1,):
            raise ValueError(
                f"y has shape {y.shape}; expected one label for each sample, shape (n_samples,), "
                "as in the first fit."
            )

    def encode_rows(self, y, output_shape, loss):
        """Turn labels into what the loss takes.

        Returns
        -------
        encoded : array
            Class numbers of shape (n_samples,), a 0/1 column of shape (n_samples, 1), or one-hot
            rows of shape (n_samples, n_classes).

        Raises
        ------
        ValueError
            If there are labels that weren't seen.
        """
        codes = self._codes(y)
        if output_shape in ((), (1,)):
            return codes.astype("float32").reshape(-1, *output_shape)
        if loss.name in SPARSE_LOSSES or not (loss.is_builtin or self.indicator):
            return codes.astype("int32")
        return np.eye(len(self.classes), dtype="float32")[codes]

    def strata(self, y):
        """One value for each sample, to stratify splits by: of lazy labels, a small one."""
        if not isinstance(y, LazyArray):
            return np.asarray(y).ravel()
        dtype = np.min_scalar_type(len(self.classes))
        return np.concatenate([self._codes(rows).astype(dtype) for rows in blocks(y)])

    def probabilities(self, outputs, loss):
        """Turn the net's outputs into probabilities, a column for each class."""
        outputs = np.asarray(outputs).reshape(len(outputs), -1)
        if outputs.shape[1] == 1:
            positive = expit(outputs) if loss.from_logits else outputs
            _check_probabilities(positive, loss)
            return np.hstack([1 - positive, positive])
        scores = softmax(outputs, axis=1) if loss.from_logits else outputs
        _check_probabilities(scores, loss)
        return _normalized(scores)

    def predictions(self, outputs, loss):
        """Turn the net's outputs into labels."""
        outputs = np.asarray(outputs).reshape(len(outputs), -1)
        if outputs.shape[1] > 1:
            return self._labels(outputs.argmax(axis=1))
        zero = loss.from_logits or loss.takes_margins
        return self._labels((outputs[:, 0] > (0 if zero else 0.5)).astype(int))

    def _labels(self, codes):
        return self.classes[codes]

    def _codes(self, y):
        y = y.reshape(len(y))
        codes = np.searchsorted(self.classes, y).clip(max=len(self.classes) - 1)
        unseen = self.classes[codes] != y
        if unseen.any():
            raise ValueError(
                f"y has labels that were not seen in training: {np.unique(y[unseen])[:5]}; "
                f"expected only {self.classes}. Train on all classes, or leave those rows out."
            )
        return codes


class OneHot(Labels):
    """One label for each sample, given as a row with a single 1."""

    indicator = True
    _many_unit_loss = "categorical_crossentropy"

    def __init__(self, y):
        self.classes = np.arange(y.shape[1])
        self.kind = "onehot"
        self.dtype = y.dtype

    @property
    def n_outputs(self):
        """Units of the output layer: always one for each class."""
        return len(self.classes)

    @property
    def output_activation(self):
        """Activation of the output layer: always softmax."""
        return "softmax"

    def strata(self, y):
        """The class of each sample, to stratify splits by."""
        return np.concatenate([_dense(rows).argmax(axis=1) for rows in blocks(y)])

    def _labels(self, codes):
        return np.eye(len(self.classes), dtype=self.dtype)[codes]

    def check(self, y, loss):
        """Raise unless y is one-hot rows."""
        if y.ndim != 2 or y.shape[1] != len(self.classes) or not _is_one_hot(y):
            raise ValueError(
                f"y has shape {y.shape}; expected one-hot rows of shape (n_samples, "
                f"{len(self.classes)}), each with a single 1, as in the first fit."
            )

    def _codes(self, y):
        return _dense(y).argmax(axis=1)


class Indicators(_Encoding):
    """Any number of labels for each sample: a 0/1 column for each class."""

    kind = "multilabel-indicator"
    indicator = True
    output_activation = "sigmoid"

    def __init__(self, y):
        self.classes = np.arange(y.shape[1])
        self.dtype = y.dtype

    @property
    def n_classes(self):
        """Number of label columns."""
        return len(self.classes)

    @property
    def n_outputs(self):
        """Units of the output layer that a builder is asked for."""
        return len(self.classes)

    def default_loss(self, output_shape):
        """Name the loss for a net with such outputs."""
        return "binary_crossentropy"

    def check_net(self, output_shape, loss):
        """Raise if the net's outputs or its loss can't learn these labels."""
        if output_shape != (self.n_outputs,):
            raise ValueError(
                f"The net's outputs have shape {_shape(output_shape)}; y has {self.n_outputs} "
                f"label columns, which take {_shape((self.n_outputs,))}. Let the builder take "
                "n_outputs and give its last layer that many units."
            )
        if loss.name in CATEGORICAL_LOSSES | {"crossentropy", "kl_divergence", "circle"}:
            raise ValueError(
                f"loss={loss.name!r} doesn't fit a multilabel y, whose rows have any number of "
                "labels: it expects exactly one. Use loss='binary_crossentropy' and a sigmoid."
            )

    def check(self, y, loss):
        """Raise unless y is 0/1 columns."""
        if y.ndim != 2 or y.shape[1] != self.n_outputs:
            raise ValueError(
                f"y has shape {y.shape}; expected (n_samples, {self.n_outputs}), as in the first "
                "fit."
            )
        if not all(map(_is_binary, blocks(y))):
            raise ValueError("y has other values than in the first fit; expected 0 and 1.")

    def encode_rows(self, y, output_shape, loss):
        """Return 0/1 columns of shape (n_samples, n_classes)."""
        return _dense(y).astype("float32")

    def strata(self, y):
        """None: rows with several labels can't be stratified by one."""
        return None

    def probabilities(self, outputs, loss):
        """Turn the net's outputs into the probability of each label."""
        scores = expit(outputs) if loss.from_logits else outputs
        _check_probabilities(scores, loss)
        return scores

    def predictions(self, outputs, loss):
        """Turn the net's outputs into 0/1 columns."""
        zero = loss.from_logits or loss.takes_margins
        return (outputs > (0 if zero else 0.5)).astype(self.dtype)


class Values(_Encoding):
    """Regression targets: numbers of shape (n_samples,) or (n_samples, ...)."""

    kind = "continuous"
    classes = None
    n_classes = None
    output_activation = "linear"

    def __init__(self, y):
        self.shape = y.shape[1:]

    @property
    def n_outputs(self):
        """Units of the output layer that a builder is asked for."""
        return int(np.prod(self.shape, dtype=int))

    def default_loss(self, output_shape):
        """Name the loss for a net with such outputs."""
        return "mean_squared_error"

    def check_net(self, output_shape, loss):
        """Raise if the net's outputs or its loss can't learn these values."""
        if output_shape != self.shape and output_shape != (self.shape or (1,)):
            raise ValueError(
                f"The net's outputs have shape {_shape(output_shape)}; y asks for "
                f"{_shape(self.shape or (1,))}. Let the builder take n_outputs and give its last "
                "layer that many units."
            )
        if loss.name in CATEGORICAL_LOSSES:
            raise ValueError(
                f"loss={loss.name!r} doesn't fit a regressor: it expects classes, and y holds "
                "numbers. Use loss='mean_squared_error', or a KerasClassifier."
            )
        if loss.name in ROW_LOSSES and output_shape in ((), (1,)):
            raise ValueError(
                f"loss={loss.name!r} doesn't fit a net with one output unit: it compares the units "
                "of a row with each other. Use loss='mean_squared_error'."
            )

    def check(self, y, loss):
        """Raise unless y has the shape of the first fit's, and numbers that the loss takes."""
        # A column is as good as a row of numbers, whichever came first.
        if y.shape[1:] != self.shape and {y.shape[1:], self.shape} != {(), (1,)}:
            raise ValueError(
                f"y has shape {y.shape}; expected {_shape(self.shape, 'n_samples')}, as in the "
                "first fit."
            )
        if loss.name not in RANGES:
            return
        low, high = RANGES[loss.name]
        extremes = [(float(rows.min()), float(rows.max())) for rows in blocks(y)]
        least, most = min(low for low, _ in extremes), max(high for _, high in extremes)
        if least < low or most > high:
            span = f"between {low} and {high}" if high < np.inf else f"of at least {low}"
            raise ValueError(
                f"loss={loss.name!r} doesn't fit y, which runs from {least:g} to {most:g}: "
                f"it expects values {span}. Use loss='mean_squared_error', or scale y."
            )

    def encode_rows(self, y, output_shape, loss):
        """Return the values in the shape of the net's outputs."""
        y = y if y.dtype.kind == "f" else y.astype("float64")
        return y.reshape(len(y), *output_shape)

    def strata(self, y):
        """None: there are no classes to stratify by."""
        return None

    def predictions(self, outputs, loss):
        """Return the net's outputs in the shape of y; of logits, the probabilities."""
        values = np.asarray(outputs, dtype="float64").reshape(len(outputs), *self.shape)
        # What logits of the user's own loss mean is unknown.
        return expit(values) if loss.from_logits and loss.name in BINARY_LOSSES else values


class Several:
    """Targets of several outputs, by the outputs' names.

    Parameters
    ----------
    targets : dict
        The target of each output.
    """

    kind = "multioutput"

    def __init__(self, targets):
        self.targets = targets

    @property
    def classes(self):
        """The classes of each output, or None for numbers."""
        return self._each("classes")

    @property
    def n_classes(self):
        """Number of classes of each output, or None for numbers."""
        return self._each("n_classes")

    def _each(self, name):
        values = {key: getattr(target, name) for key, target in self.targets.items()}
        return None if any(value is None for value in values.values()) else values

    @property
    def n_outputs(self):
        """Units of each output layer that a builder is asked for."""
        return {name: target.n_outputs for name, target in self.targets.items()}

    @property
    def output_activation(self):
        """Activation of each output layer that a builder is asked for."""
        return {name: target.output_activation for name, target in self.targets.items()}

    def default_loss(self, output_shape):
        """Name the loss of each output."""
        self._check_outputs(output_shape)
        return {
            name: target.default_loss(output_shape[name]) for name, target in self.targets.items()
        }

    def check_net(self, output_shape, loss):
        """Raise if the net lacks an output, or one can't learn its target."""
        self._check_outputs(output_shape)
        for name, target in self.targets.items():
            target.check_net(output_shape[name], loss[name])

    def _check_outputs(self, output_shape):
        if not isinstance(output_shape, dict) or set(output_shape) != set(self.targets):
            names = list(output_shape) if isinstance(output_shape, dict) else output_shape
            raise ValueError(
                f"The net's outputs are {names}; y has {list(self.targets)}. Let the net return a "
                "dict with these keys, or name its output layers so."
            )

    def check_names(self, y):
        """Raise unless y has targets for the outputs that were learnt."""
        if not isinstance(y, dict) or set(y) != set(self.targets):
            raise ValueError(
                f"y has {list(y) if isinstance(y, dict) else type(y).__name__}; expected a dict "
                f"with the keys {list(self.targets)}, as in the first fit."
            )

    def encode(self, y, output_shape, loss):
        """Encode the target of each output."""
        self.check_names(y)
        return {
            name: target.encode(y[name], output_shape[name], loss[name])
            for name, target in self.targets.items()
        }

    def strata(self, y):
        """None: there is no one label to stratify by."""
        return None

    def probabilities(self, outputs, loss):
        """Turn each output into probabilities."""
        return {
            name: target.probabilities(outputs[name], loss[name])
            for name, target in self.targets.items()
        }

    def predictions(self, outputs, loss):
        """Turn each output into predictions."""
        return {
            name: target.predictions(outputs[name], loss[name])
            for name, target in self.targets.items()
        }


def output_activation(target, loss):
    """Choose the activation of the output layer that a builder is asked for.

    Parameters
    ----------
    target : target
        What is to be learnt.
    loss : LossFacts or dict of LossFacts
        By which loss.

    Returns
    -------
    activation : str or dict of str
        ``"linear"`` where the loss takes logits or margins.

    Examples
    --------
    >>> from skkeras._losses import LossFacts
    >>> from skkeras._targets import classification_target, output_activation
    >>> target = classification_target([0, 1])
    >>> output_activation(target, LossFacts("binary_crossentropy"))
    'sigmoid'
    >>> output_activation(target, LossFacts("binary_crossentropy", from_logits=True))
    'linear'
    """
    if isinstance(target, Several):
        losses = loss if isinstance(loss, dict) else {}
        return {
            name: output_activation(part, losses.get(name, LossFacts()))
            for name, part in target.targets.items()
        }
    if loss.from_logits or loss.takes_margins:
        return "linear"
    return target.output_activation


def classification_target(y, loss=None, classes=None):
    """Find out which kind of labels y holds.

    Parameters
    ----------
    y : array-like, LazyArray or sparse matrix
        Labels, one-hot rows or a multilabel indicator.
    loss : object, default=None
        The loss asked for, see `loss_name`: a binary one makes one-hot rows a multilabel y.
    classes : array or None, default=None
        All labels, if y may lack some.

    Returns
    -------
    target : Labels, OneHot or Indicators

    Examples
    --------
    >>> from skkeras._targets import classification_target
    >>> classification_target(["b", "a", "c"]).kind
    'multiclass'
    """
    some = few_rows(y)
    check_classification_targets(some)
    kind = type_of_target(some, input_name="y")
    if kind == "multilabel-indicator":
        y = _as_array(y)
        if _is_one_hot(y) and loss_name(loss) not in BINARY_LOSSES:
            return OneHot(y)
        return Indicators(y)
    if kind == "multiclass-multioutput":
        raise ValueError(
            f"y has {np.asarray(y).shape[1]} columns of classes; expected one column, one-hot "
            "rows, or a 0/1 indicator. Wrap the estimator in "
            "sklearn.multioutput.MultiOutputClassifier to learn several columns, or give y as a "
            "dict of them, for a net with an output of each name."
        )
    return Labels(np.asarray(some) if classes is None else classes)


def _as_array(y):
    return y if hasattr(y, "toarray") or isinstance(y, LazyArray) else np.asarray(y)


def _dense(y):
    return y.toarray() if hasattr(y, "toarray") else y


def _is_binary(y):
    y = _dense(y)
    return bool(((y == 0) | (y == 1)).all())


def _is_one_hot(y):
    return y.shape[1] > 1 and all(
        _is_binary(rows) and (_dense(rows).sum(axis=1) == 1).all() for rows in blocks(y)
    )


def _check_probabilities(scores, loss):
    if loss.takes_margins:
        raise ValueError(
            f"A net trained with loss={loss.name!r} has margins, no probabilities. Use predict, "
            "loss='binary_crossentropy', or sklearn.calibration.CalibratedClassifierCV."
        )
    if scores.size and not (scores.min() >= -1e-3 and scores.max() <= 1 + 1e-3):
        raise ValueError(
            f"The net's outputs run from {scores.min():g} to {scores.max():g}; expected "
            "probabilities between 0 and 1. End the net with output_activation (sigmoid or "
            "softmax), or train it with a loss that has from_logits=True."
        )


def _normalized(scores):
    """Let rows sum to 1, as `sklearn.multiclass.OneVsRestClassifier` does; softmax's do."""
    totals = scores.sum(axis=1, keepdims=True)
    if np.allclose(totals, 1, atol=1e-3):
        return scores
    uniform = np.full_like(scores, 1 / scores.shape[1])
    return np.divide(scores, totals, out=uniform, where=totals > 0)


def _shape(shape, first="None"):
    return f"({', '.join([first, *map(str, shape)])}{',' if not shape else ''})"
