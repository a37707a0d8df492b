"""Streams in estimators: how they learn from batches that come in an order of their own."""

from skkeras.data.streams import as_stream, check_inside, check_stream, joined, one_of_each
from skkeras.engine.streaming import StreamedRows
from skkeras.inputs import batch_weights
from skkeras.params import split_routed
from skkeras.recipe import check_asks_for_no_data


class StreamsMixin:
    """What `BaseKerasEstimator` does otherwise where X is a stream, see `skkeras.data.streams`."""

    def _begin_stream(self, stream, *, go_on, hold_out):
        """Do what `_begin` does for data that comes in batches; a net is made for the first."""
        arguments = split_routed(self._routed)["fit"]
        check_stream(stream, arguments, 1 if hold_out is None else self._fit_argument("epochs"))
        check_asks_for_no_data(self._source(self.model))
        counts = self._count_labels(stream, go_on=go_on)
        X, y, _ = stream.first()
        X, y = self._check_data(X, y, reset=not go_on)
        if go_on:
            self._adopt_learning_rate()
        else:
            build_seed = self._learn(one_of_each(counts, y))
        if hold_out is not None:
            hold_out(stream, None)  # it raises if anything is to be held out
        if not go_on:
            self._make_net(X, y, build_seed, seen=None)
        steps = arguments.get("steps_per_epoch")
        rows = self._stream_rows(stream, steps, self._class_weights(counts))
        return rows, None, stream.source, None

    def _stream_rows(self, stream, steps=None, class_weights=None, *, trains=True):
        """Put a stream into the form the net takes, a batch at a time."""

        def as_rows(x, y, weight):
            x, y = self._check_data(x, y, reset=False)
            weight = batch_weights(weight, x)
            return self._rows(x, y, self._times_class_weights(weight, y, class_weights))

        return StreamedRows(stream, as_rows, steps, trains=trains)

    def _count_labels(self, stream, *, go_on):
        """Count the labels of a stream, where they have to be known before training."""
        return None

    def _class_weights(self, counts):
        return None

    def _times_class_weights(self, weight, y, class_weights):
        return weight

    def _predicted(self, X, y, sample_weight):
        """Predict X, and return y and weights along with it: a stream has them inside."""
        if (stream := as_stream(X)) is None:
            return self.predict(X), y, sample_weight
        check_inside(y, sample_weight)
        return joined([(self.predict(x), *rest) for x, *rest in stream.blocks(with_targets=True)])
