"""Keras networks as first-class scikit-learn estimators."""

from skkeras import data, models
from skkeras.classifier import KerasClassifier
from skkeras.engine.cache import clear_cache
from skkeras.forecaster import KerasForecaster
from skkeras.regressor import KerasRegressor
from skkeras.scoring import forecast_scorer

__all__ = [
    "KerasClassifier",
    "KerasForecaster",
    "KerasRegressor",
    "clear_cache",
    "data",
    "forecast_scorer",
    "models",
]
