"""Forecasting of time series with Keras networks."""

from skkeras.forecasting._scorer import forecast_scorer
from skkeras.forecasting.dummy import DummyForecaster
from skkeras.forecasting.forecaster import KerasForecaster

__all__ = ["DummyForecaster", "KerasForecaster", "forecast_scorer"]
