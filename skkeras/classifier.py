"""KerasClassifier: a Keras network as a scikit-learn classifier."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import column_or_1d

from skkeras._base import BaseKerasEstimator
from skkeras._examples import DataTagsMixin, check_targets
from skkeras._hints import check_no_others
from skkeras._keras_objects.internals import is_layer
from skkeras._losses import LossFacts, loss_name
from skkeras._stream_examples import count_labels
from skkeras._targets.base import MultiOutput, naming
from skkeras._targets.classification import classification_target
from skkeras._targets.regression import RegressionTarget, are_numbers
from skkeras._versions import with_callbacks
from skkeras.data._named import NamedOutputs


def _has_probabilities(net):
    """Raise ValueError, the reason why there is no `predict_proba`, after a hinge loss."""
    if all(loss.gives_margins for loss in _losses(net)):
        name = _losses(net)[0].name
        raise ValueError(
            f"loss={name!r} gives margins, no probabilities. Use predict, decision_function, "
            "loss='binary_crossentropy', or sklearn.calibration.CalibratedClassifierCV."
        )
    return True


def _has_margins(net):
    """Raise ValueError, the reason why there is no `decision_function`, but after a hinge loss."""
    if not all(loss.gives_margins for loss in _losses(net)):
        raise ValueError(
            "Only the hinge losses of Keras give margins. Use predict_proba, or loss='hinge'."
        )
    return True


def _losses(net):
    """List the facts of a net's losses of classes; before a fit, as far as parameters tell."""
    if hasattr(net, "_net"):
        facts = net._facts.loss
        if not isinstance(facts, dict):
            return [facts]
        classes = net._target.of_classes().targets
        return [facts[name] for name in classes] or [LossFacts()]
    loss = net.model.loss if net.loss is None and is_layer(net.model) else net.loss
    if isinstance(loss, dict) and "class_name" not in loss:
        loss = [*loss.values()]
    names = map(loss_name, loss if isinstance(loss, list | tuple) else [loss])
    return [*map(LossFacts, names)] or [LossFacts()]


class KerasClassifier(DataTagsMixin, ClassifierMixin, BaseKerasEstimator):
    """A Keras network as a scikit-learn classifier.

    Labels of any dtype, one-hot rows and multilabel indicators are learnt; the loss and the
    output layer that a builder is asked for follow from them. Read more in the
    :ref:`user guide <user-guide>`.

    Parameters
    ----------
    model : callable, str, keras.Model or None, default=None
        A builder: any callable that returns a `keras.Model`. It gets the facts that it names
        (``input_shape``, ``n_outputs``, ``n_classes``, ``output_activation``, ``output_scaling``,
        ``meta``, ``compile_kwargs``, ``X``) and the hyperparameters given as ``model__name``. Or
        the name of a preset in `skkeras.models`; or a `keras.Model`, a template that every fit
        starts from and none changes. None is the preset ``"mlp"``.
    loss : str, callable, class, keras.losses.Loss or None, default=None
        None chooses by the labels: binary, categorical or sparse categorical crossentropy.
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
        What to hold out for validation: a fraction or number of rows, shuffled and stratified, or
        the first split of a scikit-learn splitter.
    early_stopping : bool or "auto", default="auto"
        Stop when ``val_loss``, or the score of ``scoring``, hasn't improved for 10 epochs, and
        restore the weights of the best epoch. Holds out a tenth of the data if nothing else is
        said. "auto" does so for tables of at least 1,000 rows, or 100 for the preset
        ``"tabular"``, if nothing is said.
    scoring : str, callable, list, dict or None, default=None
        scikit-learn scores of the held-out rows after every epoch, for ``history_`` and for
        callbacks, as ``val_roc_auc``; early stopping watches the first of them. A name or scorer
        as for `sklearn.model_selection.cross_validate`, or several.
    callbacks : callback, class, list, dict or None, default=None
        Keras callbacks; each fit gets copies of its own, kept in ``callbacks_``.
    class_weight : dict, "balanced" or None, default=None
        Weights by label; "balanced" makes all labels of the rows to train on count alike.
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
        Whether numbers, of outputs beside those with classes, may be NaN in y, for a loss of your
        own that leaves them out. `score` leaves them out, too.
    **routed : dict
        ``model__``, ``optimizer__``, ``loss__``, ``metrics__``, ``callbacks__``, ``compile__``,
        ``fit__``, ``predict__`` and ``early_stopping__`` parameters, by the name they have there;
        the last are those of `keras.callbacks.EarlyStopping`.

    Attributes
    ----------
    model_ : keras.Model
        The trained net, compiled, with its optimizer's state.
    history_ : dict of list of float
        A value per epoch for the loss, each metric, and both on validation data (``val_...``).
    n_iter_ : int
        Epochs trained.
    best_epoch_ : int
        With ``early_stopping``: the index in ``history_`` of the epoch whose weights were kept.
    classes_ : ndarray of shape (n_classes,)
        The labels, in the order of the columns of `predict_proba`; a dict for several outputs.
    callbacks_ : list of keras.callbacks.Callback
        The fit's own copies. They aren't pickled.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, if X had them.

    See Also
    --------
    KerasRegressor : The same for numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skkeras import KerasClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> pipe = make_pipeline(StandardScaler(), KerasClassifier(model__units=32, random_state=0))
    >>> float(pipe.fit(X, y).score(X, y)) > 0.95
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
        class_weight=None,
        shuffle=True,
        augment=None,
        warm_start=False,
        random_state=None,
        verbose=0,
        on_divergence="raise",
        engine="compiled",
        allow_nan_targets=False,
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
            allow_nan_targets=allow_nan_targets,
            **routed,
        )
        self.scoring = scoring
        self.class_weight = class_weight

    @with_callbacks
    def partial_fit(self, X, y=None, classes=None, sample_weight=None, **others):
        """Train for one epoch more, from where the weights and the optimizer are.

        Nothing is held out of these rows, and ``class_weight="balanced"`` balances them alone.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            The next rows, as in `fit`.
        y : array-like, default=None
            Their labels. None with a stream.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call if its y lacks some.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each sample counts, relative to the others.
        **others : dict
            None are taken: what `keras.Model.fit` takes goes to the constructor.

        Returns
        -------
        self : object
            The estimator.
        """
        if others:
            own = ("X", "y", "classes", "sample_weight")
            check_no_others("partial_fit", others, own, type(self).__signature__.parameters)
        if classes is not None:
            classes = np.unique(classes)
            if hasattr(self, "_net") and not np.array_equal(classes, self.classes_):
                raise ValueError(
                    f"classes={classes} differs from the ones learnt first, {self.classes_}; "
                    "expected the same. Call fit to begin anew, or leave classes out."
                )
        return self._partial_fit(X, y, sample_weight, classes=classes)

    def predict(self, X, **others):
        """Predict the labels of X.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            Rows like those of training; or batches of them, whose targets aren't looked at.
        **others : dict
            None are taken: what `keras.Model.predict` takes goes to the constructor.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, ...), or dict
            Labels; one-hot rows or an indicator if y was one. In the shape of y for a class at each
            step; the net's outputs if a loss of your own lets them have another shape.
        """
        if others:
            check_no_others("predict", others, ("X",))
        outputs = self._outputs(X)
        return self._target.predictions(outputs, self._facts.loss)

    @available_if(_has_probabilities)
    def predict_proba(self, X, **others):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            Rows like those of training; or batches of them, whose targets aren't looked at.
        **others : dict
            None are taken: what `keras.Model.predict` takes goes to the constructor.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes), or (n_samples, ..., n_classes)
            Columns follow ``classes_``. Also for a net with one output unit, or trained from
            logits. For a class at each step, the axes of steps come before the classes. For several
            outputs a dict of those that tell classes apart.

        Raises
        ------
        AttributeError
            After a hinge loss, which gives margins: see `decision_function`.
        ValueError
            If the net's outputs are no probabilities.
        """
        if others:
            check_no_others("predict_proba", others, ("X",))
        return self._decoded("probabilities", X)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X, **others):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            As in `predict_proba`.
        **others : dict
            None are taken: what `keras.Model.predict` takes goes to the constructor.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes), or (n_samples, ..., n_classes)
            Logarithms of what `predict_proba` returns; -inf where that is 0.
        """
        if others:
            check_no_others("predict_log_proba", others, ("X",))
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            if isinstance(probabilities, dict):
                return NamedOutputs({name: np.log(one) for name, one in probabilities.items()})
            return np.log(probabilities)

    @available_if(_has_margins)
    def decision_function(self, X, **others):
        """Predict margins, of a net that was trained by a hinge loss.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            As in `predict`.
        **others : dict
            None are taken: what `keras.Model.predict` takes goes to the constructor.

        Returns
        -------
        margins : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Of two classes, the margin of the second: above 0 it is predicted. Of more, or of
            columns of labels, a column for each in the order of ``classes_``.

        Raises
        ------
        AttributeError
            After any other loss: see `predict_proba`.
        """
        if others:
            check_no_others("decision_function", others, ("X",))
        return self._decoded("margins", X)

    def _decoded(self, method, X):
        """Turn the net's outputs for X into numbers for each class."""
        outputs = self._outputs(X)
        target, loss = self._target, self._facts.loss
        if isinstance(target, MultiOutput):
            target = target.of_classes()
        return getattr(target, method)(outputs, loss)

    def score(self, X, y=None, sample_weight=None, **others):
        """Compute the mean accuracy on X and y.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, strings, dict of array-likes, or stream
            Rows like those of training; or batches of them, with the targets inside.
        y : array-like of shape (n_samples,) or (n_samples, ...), or dict; default=None
            True labels; None with a stream. The score of several outputs is the mean of theirs, of
            numbers the R2. Labels of steps count alike, all of them.
        sample_weight : array-like of shape (n_samples,) or (n_samples, ...), or dict, default=None
            How much each sample, or position in it, counts; by output.
        **others : dict
            None are taken: what `keras.Model.predict` takes goes to the constructor.

        Returns
        -------
        score : float
            Between 0 and 1.
        """
        if others:
            check_no_others("score", others, ("X", "y", "sample_weight"))
        return self._score(X, y, sample_weight)

    @property
    def classes_(self):
        """The labels, in the order of the columns of `predict_proba`."""
        if not hasattr(self, "_target"):
            raise AttributeError("This KerasClassifier has no classes_ yet; call fit first.")
        if isinstance(self._target, MultiOutput):
            return NamedOutputs(self._target.of_classes().classes)
        return self._target.classes

    def _check_data(self, X, y, *, reset):
        X, y = check_targets(self, X, y, reset=reset, allow_nan=self.allow_nan_targets)
        if isinstance(y, dict):
            return X, y
        if y.ndim == 2 and y.shape[1] == 1 and not hasattr(y, "toarray"):
            y = column_or_1d(y, warn=True)
        return X, y

    def _learn_target(self, y, classes=None, x_shape=()):
        if isinstance(y, dict):
            return self._several_targets(y, x_shape)
        return classification_target(y, self.loss, classes, x_shape)

    def _several_targets(self, y, x_shape):
        """Choose targets by output: numbers may stand beside classes."""
        targets = {}
        for name, part in y.items():
            loss = self.loss.get(name) if isinstance(self.loss, dict) else self.loss
            with naming(name):
                if are_numbers(part, loss):
                    targets[name] = RegressionTarget(part, allows_nan=self.allow_nan_targets)
                else:
                    targets[name] = classification_target(part, loss, x_shape=x_shape)
        if all(target.classes is None for target in targets.values()):
            raise ValueError(
                f"y has numbers in all outputs, {[*targets]}; expected classes in at least one. "
                "Use a KerasRegressor."
            )
        return MultiOutput(targets)

    def _count_labels(self, stream, n_steps, *, classes_known):
        if classes_known and self.class_weight != "balanced":
            return None
        counts = count_labels(stream, n_steps and n_steps * self._fit_argument("epochs"))
        if counts is None and self.class_weight == "balanced":
            raise ValueError(
                "Got class_weight='balanced' with one-hot rows in a dataset or generator; expected "
                "a dict, {class: weight}, or labels."
            )
        return counts

    def _class_weights(self, examples, rows):
        if self.class_weight is None:
            return None
        return examples.class_weights(self.class_weight, self._target, rows, self._facts)
