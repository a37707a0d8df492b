"""Keras networks as first-class scikit-learn estimators."""

from skkeras import models
from skkeras.classifier import KerasClassifier
from skkeras.engine.cache import clear_cache
from skkeras.regressor import KerasRegressor

__all__ = ["KerasClassifier", "KerasRegressor", "clear_cache", "models"]
