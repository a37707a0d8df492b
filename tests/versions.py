"""Tests with older versions of the dependencies."""

import importlib.metadata
import inspect
import re

import pytest
from sklearn.utils import estimator_checks


def is_older(name, version):
    """Tell whether the installed version of a package is older than this one."""
    installed, wanted = (
        tuple(map(int, re.findall(r"\d+", one)[:2]))
        for one in (importlib.metadata.version(name), version)
    )
    return installed < wanted


def needs(name, version):
    """Skip a test of what a package can't do before this version."""
    reason = f"{name} {importlib.metadata.version(name)} is older than {version}"
    return pytest.mark.skipif(is_older(name, version), reason=reason)


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
