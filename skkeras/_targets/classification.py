"""Classification targets: labels, one-hot rows, and multilabel indicators."""

import numpy as np
from scipy.special import expit, softmax
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from skkeras._losses import (
    BINARY_LOSSES,
    CATEGORICAL_LOSSES,
    ROW_LOSSES,
    SPARSE_LOSSES,
    loss_name,
)
from skkeras._targets.base import (
    Target,
    as_array,
    blocks,
    dense,
    few_labels,
    few_rows,
    shape_text,
    units_advice,
)
from skkeras._targets.steps import ByStep
from skkeras.data._arrays import LazyArray


class Labels(Target):
    """One label for each sample, of any dtype."""

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
                "tell apart. Stratify the split that left one, or say which others come later: "
                "partial_fit(X, y, classes=[...])."
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
        """Name the default loss for a net with outputs of this shape."""
        return "binary_crossentropy" if output_shape in ((), (1,)) else self._many_unit_loss

    _many_unit_loss = "sparse_categorical_crossentropy"
    row_shape, row_dtype = (), "int32"

    def has_shape(self, output_shape):
        """Tell whether a net with such outputs tells these classes apart."""
        return output_shape in self._output_shapes

    @property
    def _output_shapes(self):
        return [(len(self.classes),)] + [(), (1,)] * (self.kind == "binary")

    def some_rows(self):
        """Return rows such as y has."""
        return self._labels(np.zeros(2, int))

    def check_net(self, output_shape, loss):
        """Raise if the net's outputs or its loss can't learn these labels."""
        n_classes, allowed = len(self.classes), self._output_shapes
        if output_shape not in allowed:
            if self.has_any_shape(loss):
                return
            raise ValueError(
                f"The net's outputs have shape {shape_text(output_shape)}; y has {n_classes} "
                f"classes, which take {shape_text(allowed[-1])}. "
                f"{units_advice(self.row_shape, output_shape)}"
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
        """Encode labels for the loss; raise ValueError for labels that weren't seen.

        Class numbers of shape (n_samples,), a 0/1 column of the outputs' shape, or one-hot rows of
        shape (n_samples, n_classes).
        """
        if loss.y_shape is not None:
            rows = dense(y).astype("float32") if self.indicator else self._codes(y).astype("int32")
            return rows.reshape(len(rows), *loss.y_shape)
        codes, kind = self._codes(y), self.metric_targets(output_shape, loss)
        if kind == "column":
            return codes.astype("float32").reshape(-1, *output_shape)
        if kind == "numbers":
            return codes.astype("int32")
        return np.eye(len(self.classes), dtype="float32")[codes]

    def metric_targets(self, output_shape, loss):
        """Name what `encode_rows` returns, which metrics get, too."""
        if output_shape in ((), (1,)):
            return "column"
        is_sparse = loss.name in SPARSE_LOSSES or not (loss.is_builtin or self.indicator)
        return "numbers" if is_sparse else "rows"

    def strata(self, y):
        """Label of each sample, to stratify splits by; its number, of lazy labels."""
        if not isinstance(y, LazyArray):
            return np.asarray(y).ravel()
        dtype = np.min_scalar_type(len(self.classes))
        return np.concatenate([self._codes(rows).astype(dtype) for rows in blocks(y)])

    def probabilities(self, outputs, loss):
        """Turn the net's outputs into probabilities, a column for each class."""
        _check_shape(loss)
        outputs = np.asarray(outputs).reshape(len(outputs), -1)
        if outputs.shape[1] == 1:
            positive = expit(outputs) if loss.from_logits else outputs
            _check_probabilities(positive, loss)
            return np.hstack([1 - positive, positive])
        scores = softmax(outputs, axis=1) if loss.from_logits else outputs
        _check_probabilities(scores, loss)
        return _normalized(scores)

    def margins(self, outputs, loss):
        """Turn the net's outputs into margins: of the second of two classes, or of each class."""
        _check_margins(loss)
        outputs = np.asarray(outputs).reshape(len(outputs), -1)
        if self.kind == "binary" and outputs.shape[1] == 2:
            return outputs[:, 1] - outputs[:, 0]
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predictions(self, outputs, loss):
        """Turn the net's outputs into labels; as they come, if they have another shape."""
        if loss.y_shape is not None:
            return np.asarray(outputs)
        outputs = np.asarray(outputs).reshape(len(outputs), -1)
        if outputs.shape[1] > 1:
            return self._labels(outputs.argmax(axis=1))
        return self._labels((outputs[:, 0] > loss.threshold).astype(int))

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
        self.classes = np.arange(y.shape[-1])
        self.kind = "onehot"
        self.dtype = y.dtype

    row_dtype = "float32"

    @property
    def row_shape(self):
        """Shape of a row of y."""
        return (len(self.classes),)

    @property
    def n_outputs(self):
        """Units of the output layer: always one for each class."""
        return len(self.classes)

    @property
    def output_activation(self):
        """Activation of the output layer: always softmax."""
        return "softmax"

    def strata(self, y):
        """Class of each sample, to stratify splits by."""
        return np.concatenate([dense(rows).argmax(axis=1) for rows in blocks(y)])

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
        return dense(y).argmax(axis=1)


class Multilabel(Target):
    """Any number of labels for each sample: a 0/1 column for each class."""

    kind = "multilabel-indicator"
    indicator = True
    output_activation = "sigmoid"

    def __init__(self, y):
        self.classes = np.arange(y.shape[-1])
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

    row_dtype = "float32"

    @property
    def row_shape(self):
        """Shape of a row of y."""
        return (len(self.classes),)

    def some_rows(self):
        """Return rows such as y has."""
        return np.zeros((2, *self.row_shape), self.dtype)

    def has_shape(self, output_shape):
        """Tell whether a net with such outputs has one for each label."""
        return output_shape == self.row_shape

    def check_net(self, output_shape, loss):
        """Raise if the net's outputs or its loss can't learn these labels."""
        if not self.has_shape(output_shape):
            if self.has_any_shape(loss):
                return
            raise ValueError(
                f"The net's outputs have shape {shape_text(output_shape)}; y has {self.n_outputs} "
                f"label columns, which take {shape_text((self.n_outputs,))}. "
                f"{units_advice(self.row_shape, output_shape)}"
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

    def metric_targets(self, output_shape, loss):
        """Name what metrics get: rows of 0 and 1."""
        return "rows"

    def encode_rows(self, y, output_shape, loss):
        """Return 0/1 columns of shape (n_samples, n_classes)."""
        return dense(y).astype("float32")

    def probabilities(self, outputs, loss):
        """Turn the net's outputs into the probability of each label."""
        _check_shape(loss)
        scores = expit(outputs) if loss.from_logits else outputs
        _check_probabilities(scores, loss)
        return scores

    def margins(self, outputs, loss):
        """Turn the net's outputs into the margin of each label."""
        _check_margins(loss)
        return outputs

    def predictions(self, outputs, loss):
        """Turn the net's outputs into 0/1 columns; as they come, if they have another shape."""
        if loss.y_shape is not None:
            return np.asarray(outputs)
        return (outputs > loss.threshold).astype(self.dtype)


def classification_target(y, loss=None, classes=None, x_shape=()):
    """Choose the target for labels, one-hot rows or a multilabel indicator, or such by position.

    A binary ``loss`` makes one-hot rows a multilabel y. ``classes`` are all labels, if y may lack
    some. ``x_shape``, that of the inputs, tells which axes of y are positions in a sample, as far
    as the net's outputs don't.

    Examples
    --------
    >>> from skkeras._targets.classification import classification_target
    >>> classification_target(["b", "a", "c"]).kind
    'multiclass'
    """
    if np.ndim(y) > 2:
        return _by_position(as_array(y), loss, classes, x_shape)
    some = few_rows(y)
    check_classification_targets(some)
    kind = type_of_target(some, input_name="y")
    if kind == "multilabel-indicator":
        return _indicator(as_array(y), loss, classes)
    if kind == "multiclass-multioutput":
        return ByStep(Labels(np.asarray(some) if classes is None else classes), np.shape(y)[1:])
    return Labels(np.asarray(some) if classes is None else classes)


def _indicator(y, loss, classes):
    """Choose one-hot rows or any number of labels; or a label at each step, if the net says so."""
    is_one_hot = _is_one_hot(y) and loss_name(loss) not in BINARY_LOSSES
    target = OneHot(y) if is_one_hot else Multilabel(y)
    labels = np.array([0, 1], y.dtype) if classes is None else classes
    target.others = (ByStep(Labels(labels), y.shape[1:]),)
    return target


def _by_position(y, loss, classes, x_shape):
    """Choose the target for y with labels, or columns of them, at each of several positions."""
    labels = _whole_labels(y) if classes is None else np.asarray(classes)
    *steps, last = y.shape[1:]
    if last == 1:
        column = ByStep(Labels(labels), steps, y.shape[1:])
        column.others = (ByStep(Labels(labels), y.shape[1:]),)
        return column
    if labels.dtype.kind not in "biuf" or not set(labels.tolist()) <= {0, 1}:
        return ByStep(Labels(labels), y.shape[1:])
    each = [Multilabel(y)]
    if _is_one_hot(y):
        each.insert(loss_name(loss) in BINARY_LOSSES, OneHot(y))
    readings = [ByStep(one, steps) for one in each]
    plain = ByStep(Labels(np.array([0, 1], y.dtype)), y.shape[1:])
    is_mask = y.shape[1:] in (tuple(x_shape[1:-1]), tuple(x_shape[2:]))
    first, *others = [plain, *readings] if is_mask else [*readings, plain]
    first.others = tuple(others)
    return first


def _whole_labels(y):
    """List the different labels of an array of any rank; raise ValueError for other numbers."""
    labels = few_labels(y)
    is_whole = labels is not None and (labels.dtype.kind != "f" or not (labels % 1).any())
    if not is_whole:
        raise ValueError(
            f"Unknown label type: continuous. y has shape {y.shape} and numbers that are no "
            "classes; expected some labels. Use a KerasRegressor to learn numbers."
        )
    return labels


def _is_binary(y):
    y = dense(y)
    return bool(((y == 0) | (y == 1)).all())


def _is_one_hot(y):
    return y.shape[-1] > 1 and all(
        _is_binary(rows) and (dense(rows).sum(axis=-1) == 1).all() for rows in blocks(y)
    )


def _check_shape(loss):
    if loss.y_shape is not None:
        raise ValueError(
            f"The net's outputs have another shape than y has classes, as loss={loss.name!r} lets "
            "them, and may mean anything; expected one for each class. Compute probabilities from "
            "predict, which returns the outputs."
        )


def _check_margins(loss):
    if not loss.gives_margins:
        raise ValueError(
            f"A net trained with loss={loss.name!r} has no margins; expected a hinge loss. Use "
            "predict_proba."
        )


def _check_probabilities(scores, loss):
    if loss.gives_margins:
        raise ValueError(
            f"A net trained with loss={loss.name!r} has margins, no probabilities. Use predict, "
            "decision_function, another loss such as 'binary_crossentropy', or "
            "sklearn.calibration.CalibratedClassifierCV."
        )
    if scores.size and not (scores.min() >= -1e-3 and scores.max() <= 1 + 1e-3):
        raise ValueError(
            f"The net's outputs run from {scores.min():g} to {scores.max():g}; expected "
            "probabilities between 0 and 1. End the net with output_activation (sigmoid or "
            "softmax), or train it with a loss that has from_logits=True."
        )


def _normalized(scores):
    """Scale rows to sum 1, as `sklearn.multiclass.OneVsRestClassifier` does; softmax's do."""
    totals = scores.sum(axis=1, keepdims=True)
    if np.allclose(totals, 1, atol=1e-3):
        return scores
    uniform = np.full_like(scores, 1 / scores.shape[1])
    return np.divide(scores, totals, out=uniform, where=totals > 0)
