"""Forecasting of time series with Keras networks."""

from skkeras.forecasting._scorer import forecast_scorer
from skkeras.forecasting.forecaster import KerasForecaster

__all__ = ["KerasForecaster", "forecast_scorer"]
