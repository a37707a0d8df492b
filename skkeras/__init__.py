"""Keras networks as first-class scikit-learn estimators."""

from skkeras import data, models
from skkeras._engine.compiled_functions import cache_info, clear_cache
from skkeras.classifier import KerasClassifier
from skkeras.forecasting import DummyForecaster, KerasForecaster, forecast_scorer
from skkeras.regressor import KerasRegressor

__all__ = [
    "DummyForecaster",
    "KerasClassifier",
    "KerasForecaster",
    "KerasRegressor",
    "cache_info",
    "clear_cache",
    "data",
    "forecast_scorer",
    "models",
]

__version__ = "0.1.0"
