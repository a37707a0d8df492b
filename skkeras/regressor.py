"""KerasRegressor: a Keras network as a scikit-learn regressor."""

import functools

from sklearn.base import RegressorMixin

from skkeras._base import BaseKerasEstimator
from skkeras._examples import DataTagsMixin, check_targets
from skkeras._hints import check_no_others
from skkeras._targets.base import MultiOutput
from skkeras._targets.regression import RegressionTarget


class KerasRegressor(DataTagsMixin, RegressorMixin, BaseKerasEstimator):
    """A Keras network as a scikit-learn regressor.

    Presets scale their outputs to the units of y, and so do builders that ask for
    ``output_scaling``: the net learns as from standardised targets.

    Parameters
    ----------
    model : callable, str, keras.Model or None, default=None
        A builder, the name of a preset, a template or None; see `KerasClassifier`.
    loss : str, callable, class, keras.losses.Loss or None, default=None
        None is the mean squared error. It is told in the units of y.
    optimizer : str, class, keras.optimizers.Optimizer or None, default=None
        An instance is copied for every fit. None is ``"adam"``.
    metrics : list or None, default=None
        Metrics for ``history_`` and `evaluate`.
    epochs : int or "auto", default="auto"
        Passes over the training data. "auto" is 100, and 64 for the preset ``"tabular"``.
    batch_size : int or "auto", default="auto"
        Rows in a step; one that is larger than the data takes all of it. "auto" is 32, and 256 for
        the preset ``"tabular"``.
    validation_split : float, int, splitter or None, default=None
        What to hold out for validation: a fraction or number of rows, shuffled, or the first split
        of a scikit-learn splitter.
    early_stopping : bool or "auto", default="auto"
        Stop when ``val_loss``, or the score of ``scoring``, hasn't improved for 10 epochs, and
        restore the weights of the best epoch. Holds out a tenth of the data if nothing else is
        said. "auto" does so for tables of at least 1,000 rows, or 100 for the preset
        ``"tabular"``, if nothing is said.
    scoring : str, callable, list, dict or None, default=None
        scikit-learn scores of the held-out rows after every epoch, for ``history_`` and for
        callbacks, as ``val_r2``; early stopping watches the first of them. A name or scorer as
        for `sklearn.model_selection.cross_validate`, or several.
    callbacks : callback, class, list, dict or None, default=None
        Keras callbacks; each fit gets copies of its own, kept in ``callbacks_``.
    shuffle : bool, default=True
        Whether every epoch has a new row order.
    augment : callable, keras.Layer or None, default=None
        Changes training inputs at random, batch by batch, and never those of validation or
        prediction: a function ``augment(x, rng)`` of a batch, as the net gets it, and a
        `numpy.random.Generator`, or a Keras layer such as ``keras.layers.RandomFlip()``. Several
        inputs are a dict. Where the net's input is of integers, results are rounded and clipped.
    warm_start : bool, default=False
        Whether `fit` goes on from the last one.
    random_state : int, RandomState instance or None, default=None
        Decides initial weights, dropout, row order and what is held out.
    verbose : int, default=0
        As in `keras.Model.fit`.
    on_divergence : {"raise", "warn"}, default="raise"
        What to do when weights or loss turn to NaN or infinity.
    engine : {"compiled", "keras"}, default="compiled"
        How to train: in compiled programs that fits share, or by `keras.Model.fit`.
    allow_nan_targets : bool, default=False
        Whether y may have NaN in it, for a loss of your own that leaves them out. `score` leaves
        them out, too.
    **routed : dict
        ``model__``, ``optimizer__``, ``loss__``, ``metrics__``, ``callbacks__``, ``compile__``,
        ``fit__``, ``predict__`` and ``early_stopping__`` parameters, by the name they have there;
        the last are those of `keras.callbacks.EarlyStopping`.

    Attributes
    ----------
    model_, history_, n_iter_, best_epoch_, callbacks_, n_features_in_, feature_names_in_
        As in `KerasClassifier`.

    See Also
    --------
    KerasClassifier : The same for labels.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras import KerasRegressor
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> y = 2 * X[:, 0] + 1
    >>> net = KerasRegressor("linear", optimizer__learning_rate=0.05, random_state=0)
    >>> float(net.fit(X, y).score(X, y)) > 0.99
    True
    """

    def __init__(
        self,
        model=None,
        *,
        loss=None,
        optimizer=None,
        metrics=None,
        epochs="auto",
        batch_size="auto",
        validation_split=None,
        early_stopping="auto",
        scoring=None,
        callbacks=None,
        shuffle=True,
        augment=None,
        warm_start=False,
        random_state=None,
        verbose=0,
        on_divergence="raise",
        engine="compiled",
        **routed,
    ):
        super().__init__(
            model,
            loss=loss,
            optimizer=optimizer,
            metrics=metrics,
            epochs=epochs,
            batch_size=batch_size,
            validation_split=validation_split,
            early_stopping=early_stopping,
            callbacks=callbacks,
            shuffle=shuffle,
            augment=augment,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
            on_divergence=on_divergence,
            engine=engine,
            **routed,
        )
        self.scoring = scoring

    def predict(self, X, **others):
        """Predict numbers for X.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            Rows like those of training; or batches of them, whose targets aren't looked at.
        **others : dict
            None are taken: what `keras.Model.predict` takes goes to the constructor.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, ...), or dict
            In the shape that y had in training; the net's outputs if a loss of your own lets them
            have another.
        """
        if others:
            check_no_others("predict", others, ("X",))
        outputs = self._outputs(X)
        return self._target.predictions(outputs, self._facts.loss)

    def score(self, X, y=None, sample_weight=None, **others):
        """Compute the coefficient of determination, R2, on X and y.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            Rows like those of training; or batches of them, with the targets inside.
        y : array-like of shape (n_samples,) or (n_samples, ...), or dict; default=None
            True values; None with a stream. The score is the mean of all columns, and outputs.
        sample_weight : array-like of shape (n_samples,) or (n_samples, ...), or dict, default=None
            How much each sample, or position in it, counts; by output.
        **others : dict
            None are taken: what `keras.Model.predict` takes goes to the constructor.

        Returns
        -------
        score : float
            At most 1; 0 for predicting the mean.

        Raises
        ------
        ValueError
            If the net's outputs have another shape than y, as a loss of your own lets them.
        """
        if others:
            check_no_others("score", others, ("X", "y", "sample_weight"))
        return self._score(X, y, sample_weight)

    def _check_data(self, X, y, *, reset):
        return check_targets(
            self, X, y, reset=reset, numeric=True, allow_nan=self.allow_nan_targets
        )

    def _learn_target(self, y, classes=None, x_shape=()):
        target = functools.partial(RegressionTarget, allows_nan=self.allow_nan_targets)
        if isinstance(y, dict):
            return MultiOutput({name: target(part) for name, part in y.items()})
        return target(y)
