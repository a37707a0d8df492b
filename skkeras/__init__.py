"""Keras networks as first-class scikit-learn estimators."""

from skkeras import models
from skkeras.classifier import KerasClassifier
from skkeras.engine.cache import clear_cache
from skkeras.forecaster import KerasForecaster
from skkeras.regressor import KerasRegressor

__all__ = ["KerasClassifier", "KerasForecaster", "KerasRegressor", "clear_cache", "models"]
