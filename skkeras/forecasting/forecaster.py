"""KerasForecaster: a Keras network that forecasts series, as a scikit-learn regressor."""

from skkeras._hints import check_no_others
from skkeras._versions import with_callbacks
from skkeras.forecasting._base import BaseForecaster


class KerasForecaster(BaseForecaster):
    """A Keras network that forecasts series.

    Rows are time steps. Row t is forecast from the ``look_back`` rows strictly before it.

    Parameters
    ----------
    model : callable, str, keras.Model or None, default=None
        A builder, the name of a preset, a template or None; see `KerasClassifier`. A builder's
        ``input_shape`` is (look_back, n_columns), and its ``n_outputs`` is horizon times the number
        of targets: all targets of the first step, then those of the next. None is
        ``"nlinear_mlp"``.
    look_back : int or None, default=None
        Rows that a forecast is made from. None is 24, rounded up to whole seasons, as far as X's
        index tells one (a day of hours, a week of days, a year of weeks or months) and there are
        four times as many rows; ``look_back_`` tells.
    horizon : int, default=1
        Steps that are forecast at once.
    target : int, str, list of them or None, default=None
        The columns of X to forecast; None is all but the ones known in advance. With a y, it is
        y that is forecast, and these are the columns that hold its past, in any linear units; they
        are recognised if target is None.
    known_future : int, str, list of them or None, default=None
        Columns whose values are known in advance, such as holidays. The net sees them up to the
        last step that is forecast, in columns that follow those of X.
    calendar : str, list of str or None, default=None
        What the net is to see of X's index, of dates or periods, as the sine and cosine of columns
        that are known in advance: of "minute", "hour", "dayofweek", "day", "dayofyear", "week",
        "month" and "quarter". They are made inside, also for rows after the end.
    gap : int, default=0
        Rows that are missing between the training data and the X that follows it. They are filled
        with the net's own forecasts; columns that it doesn't forecast keep their last value. Where
        X has a pandas index, the index tells. After `update` and `partial_fit` there is no gap.
    freq : str, pandas offset, timedelta, int or None, default=None
        The step of X's index, of all series: such as ``"B"``, or a calendar with its holidays,
        ``pandas.offsets.CustomBusinessDay(holidays=[...])``; an int for an index of integers. None
        reads it off the index.
    missing : {"skip"} or None, default=None
        What is done about rows that are missing: NaN in X or y, or left out of the index. "skip"
        leaves out windows that touch them, in `fit`, `score` and `pairs`; `predict` and `forecast`
        put the net's own forecasts in their place, and the last value in columns that it doesn't
        forecast. None makes NaN an error, and fills holes in the index for `score`, too; see Notes.
    normalize : bool, default=True
        Whether the net sees standardised inputs and targets.
    window_norm : {"last", "revin"} or None, default=None
        Take the last value, or mean and standard deviation, out of each window, and put them back
        into its forecasts.
    validation_split : float, int, splitter or None, default=None
        What to hold out for validation: a fraction or number of rows at the end of the series, or
        the first split of a scikit-learn splitter. A window that forecasts some of both is left
        out.
    early_stopping : bool, default=False
        Stop when ``val_loss`` hasn't improved for 10 epochs, and restore the weights of the best
        epoch. Holds out the last tenth of the rows if nothing else is said.
    loss, optimizer, metrics, epochs, batch_size, callbacks, shuffle, augment, warm_start, \
random_state, verbose, on_divergence, engine, **routed
        As in `KerasRegressor`. Losses and metrics are in the net's units.

    Attributes
    ----------
    look_back_ : int
        Rows that a forecast is made from.
    model_, history_, n_iter_, best_epoch_, callbacks_, n_features_in_, feature_names_in_
        As in `KerasClassifier`.

    Notes
    -----
    What precedes X in `predict` and `score` is ``history`` if that is given. Otherwise X is taken
    to follow the training data, whose last rows were kept; or, if X begins as the training data
    did, to be the training data: its first ``look_back`` rows, which have no history, are then
    forecast from the means of training, and left out of `score`. So are those of a series whose
    label in ``groups`` is new, and those of an X that begins, as its index says, elsewhere in the
    training data; `predict` then warns.

    Where both have a pandas index of dates, periods or integers, other than one that just counts
    rows from 0, that index decides whether X follows, and after which gap. All series of a panel
    have one step, that of those that tell it, unless an even series of 10 rows or more tells
    another. An index of training that isn't even (a day is missing, and no ``freq`` says that it
    is one) says only what is later; gaps after it aren't seen, and it has no `forecast`.

    No window is trained on that crosses a hole in the index; elsewhere the net's own forecasts
    stand for the missing rows. Holes are told by the step, or, where it isn't known, by the spacing
    of most rows; in an index that leaves out days of the week, up to 4 missing ones in a row are
    holidays. Where a guessed spacing would leave out most windows, they cross holes, with a
    warning.

    Without an index, X is the training data only where its first rows are theirs, and as many as
    tell: where values repeat (counts, flags, exact periods) one row doesn't, and so X follows until
    enough of its rows were the same. An index or ``history`` is surer.

    In a Pipeline a scaler drops the index of X, unless ``set_output(transform="pandas")``; `fit`
    then takes that of y.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras import KerasForecaster
    >>> wave = np.sin(np.arange(200) / 5).reshape(-1, 1)
    >>> net = KerasForecaster(look_back=12, optimizer__learning_rate=0.01, random_state=0)
    >>> net.fit(wave[:150]).score(wave[150:]) > 0.99
    True
    >>> net.forecast(3).shape
    (3, 1)
    """

    def __init__(
        self,
        model=None,
        *,
        look_back=None,
        horizon=1,
        target=None,
        known_future=None,
        calendar=None,
        gap=0,
        freq=None,
        missing=None,
        normalize=True,
        window_norm=None,
        loss=None,
        optimizer=None,
        metrics=None,
        epochs=100,
        batch_size=32,
        validation_split=None,
        early_stopping=False,
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
        self.look_back = look_back
        self.horizon = horizon
        self.target = target
        self.known_future = known_future
        self.calendar = calendar
        self.gap = gap
        self.freq = freq
        self.missing = missing
        self.normalize = normalize
        self.window_norm = window_norm

    def fit(self, X, y=None, sample_weight=None, *, X_val=None, y_val=None, groups=None, **others):
        """Train a net on a series, or on several.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_columns), or Series
            Rows are time steps, in order.
        y : array-like of shape (n_rows,) or (n_rows, n_targets), default=None
            What to forecast; None is ``X[:, target]``.
        sample_weight : array-like of shape (n_rows,), default=None
            How much each row counts, relative to the others, where it is forecast.
        X_val, y_val : array-likes, default=None
            Validation data, the rows that follow X. After a gap in the index, windows that would
            reach into it are left out. Not with groups.
        groups : array-like of shape (n_rows,), default=None
            Which series each row is of. The rows of one are in order; windows don't cross.
        **others : dict
            None are taken: what `keras.Model.fit` takes goes to the constructor.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the data or a parameter can't be used, or there are too few rows.
        DivergenceError
            If training turns to NaN, and ``on_divergence="raise"``.
        """
        data = {"X_val": X_val, "y_val": y_val, "groups": groups}
        return super().fit(X, y, sample_weight, **data, **others)

    @with_callbacks
    def partial_fit(self, X, y=None, sample_weight=None, *, groups=None):
        """Train for one epoch more on rows that follow those of training.

        Parameters
        ----------
        X, y, sample_weight, groups
            The rows that follow, as in `fit`; the first call begins the series. Forecasts are
            learnt whose steps are all among these rows, from the known rows before them.

        Returns
        -------
        self : object
            The estimator. Its end has moved, as by `update`.

        Raises
        ------
        ValueError
            As in `fit`, and if the index doesn't follow that of the known rows.
        """
        return self._partial_fit(X, y, sample_weight, groups=groups)

    def initialize(self, X, y=None, *, groups=None):
        """Make the net for X and y without training it: to inspect it, or to load weights.

        Parameters
        ----------
        X, y, groups
            As in `fit`.

        Returns
        -------
        self : object
            The estimator, ready to predict what follows X.
        """
        return self._initialize(X, y, groups)

    def evaluate(self, X, y=None, sample_weight=None, *, groups=None, **others):
        """Compute the loss and the metrics that the net was compiled with, in the net's units.

        Parameters
        ----------
        X, y, sample_weight, groups
            As in `score`.
        **others : dict
            None are taken: ``batch_size`` is the constructor's.

        Returns
        -------
        results : dict of float
            ``{"loss": ..., ...}``.
        """
        if others:
            own = ("X", "y", "sample_weight", "groups")
            check_no_others("evaluate", others, own, type(self).__signature__.parameters)
        return self._evaluate(X, y, sample_weight, groups)

    def predict_interval(self, X, coverage=0.9, *, history=None, groups=None):
        """Forecast each row of X, and say between which limits the truth will be.

        Limits are as far from the forecast as the forecasts of held-out windows were off at that
        step (split-conformal). So the fit has to hold some out: ``validation_split=0.2``, or
        ``X_val``.

        In a panel these are the windows of the same series. Where it has fewer than 20, or too few
        for the coverage, the windows of all series count, each by its error over its series' mean
        absolute change from row to row, times that of this series. So it is for a new series that
        has a ``history`` or was given to `update`; for one without, errors count as they are.

        Parameters
        ----------
        X, history, groups
            As in `predict`.
        coverage : float, default=0.9
            The share of the truth that is to be within, above 0 and below 1.

        Returns
        -------
        lower, upper : ndarrays
            Each in the shape that `predict` returns.

        Raises
        ------
        ValueError
            If the fit has held out too few windows for such a share, or none.
        """
        widths = self._widths_of_rows(coverage, X, history, groups)
        forecasts = self._forecasts(X, history, groups, warns=True)[0]
        return self._learned.shaped(forecasts - widths), self._learned.shaped(forecasts + widths)

    def forecast_interval(self, steps, coverage=0.9, X_future=None, *, history=None, group=None):
        """Say between which limits what comes after the end of the series will be.

        Parameters
        ----------
        steps : int
            How many rows to forecast, at most ``horizon``: errors of later steps aren't known.
        coverage : float, default=0.9
            The share of the truth that is to be within; see `predict_interval`.
        X_future, history, group
            As in `forecast`.

        Returns
        -------
        lower, upper : ndarrays, Series or DataFrames
            Each as `forecast` returns.

        Raises
        ------
        ValueError
            If steps are beyond the horizon, or the fit has held out too few windows.
        """
        widths = self._widths(coverage, [group], history, group)[group]
        if steps > self.horizon:
            raise ValueError(
                f"Got steps={steps}, beyond horizon={self.horizon}; expected at most that many, "
                f"because errors of later steps aren't known. Train with horizon={steps}."
            )
        forecasts, index = self._ahead(steps, X_future, history, group)
        sides = forecasts - widths[:steps], forecasts + widths[:steps]
        return tuple(self._learned.labelled(side, index) for side in sides)
