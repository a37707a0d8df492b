"""Classes for each step of a series, pixel of an image or the like."""

import dataclasses

import numpy as np

from skkeras._targets.base import Target, blocks, dense, fits, shape_text


class ByStep(Target):
    """A target for each of many positions in a sample, along one or several axes.

    ``each`` is the target of one position, and ``steps`` are the axes that positions stand along.
    ``row_shape`` is that of a sample in y: labels may have a last axis of length 1.
    """

    takes_any_shape = True

    def __init__(self, each, steps, row_shape=None):
        self.each, self.steps = each, tuple(steps)
        self.row_shape = self.steps + each.row_shape if row_shape is None else tuple(row_shape)

    @property
    def kind(self):
        """Kind of the target of a position."""
        return self.each.kind

    @property
    def classes(self):
        """Classes of a position."""
        return self.each.classes

    @property
    def n_classes(self):
        """Number of classes of a position."""
        return self.each.n_classes

    @property
    def n_outputs(self):
        """Units of the output layer for a position."""
        return self.each.n_outputs

    @property
    def output_activation(self):
        """Activation of the output layer."""
        return self.each.output_activation

    @property
    def row_dtype(self):
        """Dtype in which a loss of the user's own gets the targets."""
        return self.each.row_dtype

    def some_rows(self):
        """Return rows such as y has."""
        rows = self.each.some_rows()[:1]
        return np.broadcast_to(
            rows.reshape(self.row_shape[len(self.steps) :]), (2, *self.row_shape)
        )

    def default_loss(self, output_shape):
        """Name the default loss for a net with outputs of this shape."""
        return self.each.default_loss(self._unit_shape(output_shape))

    def has_shape(self, output_shape):
        """Tell whether a net has such outputs at every position."""
        n_axes = len(self.steps)
        return fits(self.steps, output_shape[:n_axes]) and self.each.has_shape(
            output_shape[n_axes:]
        )

    def check_net(self, output_shape, loss):
        """Raise if the net's outputs or its loss can't learn these classes."""
        if self.has_shape(output_shape):
            self.each.check_net(self._unit_shape(output_shape), loss)
        elif not self.has_any_shape(loss):
            raise ValueError(self._shape_message(output_shape))

    def _shape_message(self, output_shape):
        expected = shape_text((*self.steps, self.n_outputs))
        if len(self.row_shape) > 1:
            return (
                f"The net's outputs have shape {shape_text(output_shape)}; y has rows of shape "
                f"{self.row_shape}, with {self.n_classes} classes at each position, which take "
                f"{expected}. Let the net keep these axes, and give its last layer n_outputs units."
            )
        return (
            f"The net's outputs have shape {shape_text(output_shape)}; y has {self.steps[0]} "
            f"columns of classes, which take {expected} if they are steps of a series: let the net "
            "keep that axis (return_sequences=True). To learn columns of other kinds, wrap the "
            "estimator in sklearn.multioutput.MultiOutputClassifier, or give y as a dict of them, "
            "for a net with an output of each name."
        )

    def _unit_shape(self, output_shape):
        n_axes = len(self.steps)
        is_whole = fits(self.steps, output_shape[:n_axes])
        return output_shape[n_axes:] if is_whole else output_shape[-1:]

    def check(self, y, loss):
        """Raise unless y has the shape, and each position the kind, of the first fit's."""
        if y.shape[1:] != self.row_shape:
            raise ValueError(
                f"y has shape {y.shape}; expected {shape_text(self.row_shape, 'n_samples')}, a "
                "class at each position, as in the first fit."
            )
        if self.each.indicator:
            for rows in blocks(y):
                self.each.check(self._flat(rows), loss)

    def metric_targets(self, output_shape, loss):
        """Name what metrics get at each position."""
        return self.each.metric_targets(self._unit_shape(output_shape), loss)

    def encode_rows(self, y, output_shape, loss):
        """Encode the classes of each position, as the target of a position does."""
        unit_shape = self._unit_shape(output_shape)
        if loss.y_shape is not None:
            own = dataclasses.replace(loss, y_shape=self.each.row_shape)
            return self.each.encode_rows(self._flat(y), (), own).reshape(-1, *loss.y_shape)
        codes = self.each.encode_rows(self._flat(y), unit_shape, loss)
        return codes.reshape(-1, *self.steps, *codes.shape[1:])

    def labels(self, y):
        """Label of each position, (n_samples, ...); None if it has several."""
        labels = self.each.strata(self._flat(y))
        return None if labels is None else labels.reshape(-1, *self.steps)

    def probabilities(self, outputs, loss):
        """Turn the net's outputs into probabilities, (n_samples, ..., n_classes)."""
        return self._at_each(self.each.probabilities, outputs, loss)

    def margins(self, outputs, loss):
        """Turn the net's outputs into margins, (n_samples, ...) or (n_samples, ..., n_classes)."""
        return self._at_each(self.each.margins, outputs, loss)

    def predictions(self, outputs, loss):
        """Turn the net's outputs into labels, in the shape of y."""
        if loss.y_shape is not None:
            return np.asarray(outputs)
        return self._at_each(self.each.predictions, outputs, loss).reshape(-1, *self.row_shape)

    def by_position(self, y, *others):
        """Return y, and arrays like it, with a row for each position."""
        return tuple(self._flat(np.asarray(dense(part))) for part in (y, *others))

    def _flat(self, y):
        return dense(y).reshape(-1, *self.each.row_shape)

    def _at_each(self, decode, outputs, loss):
        outputs, n_axes = np.asarray(outputs), 1 + len(self.steps)
        flat = outputs.reshape(-1, *outputs.shape[n_axes:])
        # Of a loss that lets shapes differ, the target of a position can tell what it lacks.
        decoded = decode(flat, loss)
        return decoded.reshape(*outputs.shape[:n_axes], *decoded.shape[1:])
