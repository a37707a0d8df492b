"""`parametrize_with_checks` as of today, with every version of scikit-learn."""

import inspect

import pytest
from sklearn.utils import estimator_checks

STRICT = (
    {"xfail_strict": True}
    if "xfail_strict" in inspect.signature(estimator_checks.parametrize_with_checks).parameters
    else {}  # scikit-learn before 1.8 leaves it to pytest's settings, which are strict, too
)


def parametrize_with_checks(estimators, **options):
    """Give a test the estimators and scikit-learn's checks; expected failures are strict."""
    mark = estimator_checks.parametrize_with_checks(estimators, **options, **STRICT)
    # As a list: scikit-learn 1.6 makes a generator, which pytest 9 warns of.
    return pytest.mark.parametrize(mark.args[0], [*mark.args[1]], **mark.kwargs)
