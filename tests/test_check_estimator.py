"""What scikit-learn's own checks say of the two estimators."""

import keras
import pytest
from versions import parametrize_with_checks

from skkeras import KerasClassifier, KerasRegressor

# Coverage is measured elsewhere, as in engine/test_parity.py.
pytestmark = pytest.mark.no_cover

WEIGHT_CHECKS = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
)


class Builder:
    """The default preset's layers, so that the cases share their compiled programs.

    An object and not a function, whose address would stand in the ids of the tests.
    """

    def __call__(self, input_shape, n_outputs, output_activation, units=100, dtype=None):
        return keras.Sequential(
            [
                keras.Input(input_shape, dtype=dtype),
                keras.layers.Dense(units, dtype=dtype),
                keras.layers.Activation("relu", dtype=dtype),
                keras.layers.Dense(n_outputs, output_activation, dtype=dtype),
            ]
        )

    def __repr__(self):
        return "build"


build = Builder()


def minibatch(estimator_class):
    """Instances that train on minibatches of float32."""
    return [
        estimator_class(),
        # The data of the weight checks fits into one batch of the default size.
        estimator_class(build, epochs=50, batch_size=16),
        estimator_class(
            model__units=100, optimizer__learning_rate=0.01, fit__epochs=30, fit__batch_size=16
        ),
    ]


def full_batch(estimator_class):
    """An instance that trains on all rows at once, in float64."""
    return estimator_class(build, model__dtype="float64", batch_size=1000)


def weights_change_the_batches(estimator):
    reason = (
        "A row of weight 3 is in one minibatch, and a row given thrice in up to three; where one "
        "batch holds all, float32 still rounds differently by more than the 1e-7 of this check."
    )
    return dict.fromkeys(WEIGHT_CHECKS, reason)


@parametrize_with_checks(
    [*minibatch(KerasClassifier), *minibatch(KerasRegressor)],
    expected_failed_checks=weights_change_the_batches,
)
def test_scikit_learn_finds_nothing(estimator, check):
    check(estimator)


def weight_checks(estimator_class):
    every = parametrize_with_checks([full_batch(estimator_class)]).args[1]
    return [case for case in every if case[1].func.__name__ in WEIGHT_CHECKS]


@pytest.mark.parametrize(
    "estimator, check",
    [*weight_checks(KerasClassifier), *weight_checks(KerasRegressor)],
    ids=lambda case: getattr(getattr(case, "func", type(case)), "__name__", None),
)
def test_in_a_full_batch_of_float64_weights_equal_repeated_rows(estimator, check):
    check(estimator)
