"""Class weights: how much a row counts by its label, besides its own weight."""

from numbers import Real

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from skkeras._sample_weights import with_axes
from skkeras._targets.base import dense, in_memory, naming

_SHOWN = 10  # of the classes, in a message


def weigh_labels(by_label, target, y, weight=None):
    """Weigh rows, or the positions in them, by their labels, times their own weight.

    Rows of several labels, and weights for unknown labels, raise ValueError.
    """
    labels = target.labels(y)
    if labels is None:
        raise ValueError(
            f"Got class_weight={by_label!r} with a dataset or generator whose rows have "
            "several labels or outputs; expected None. Let it yield weights."
        )
    if isinstance(by_label, list):
        raise ValueError(
            f"Got class_weight={by_label!r}, a list; expected a dict, {{label: weight}}, or "
            "'balanced'. A list of dicts is for rows with several labels."
        )
    if isinstance(by_label, dict):
        check_by_label(by_label, target.classes)
        by_class = _weights_of(by_label, labels)
    else:  # scikit-learn tells what is wrong
        by_class = compute_sample_weight(by_label, labels.ravel()).reshape(labels.shape)
    return by_class if weight is None else with_axes(weight, labels.ndim) * by_class


def weigh_outputs(weigh, y, weight=None):
    """Weigh rows for each output by a function of its own; others keep their weights."""
    weights = weight if isinstance(weight, dict) else dict.fromkeys(y, weight)
    weighed = {}
    for name, own in weights.items():
        with naming(name):
            weighed[name] = weigh[name](y[name], own) if name in weigh else own
    return weighed


def by_output_name(class_weight, target):
    """Return the class weights of each output: by its name, or "balanced" for all of classes."""
    names = [*target.of_classes().targets]
    if class_weight == "balanced":
        return dict.fromkeys(names, class_weight)
    if not isinstance(class_weight, dict) or not set(class_weight) <= set(names):
        raise ValueError(
            f"Got class_weight={class_weight!r} with several outputs; expected None, 'balanced', "
            f"or a dict of label weights by the names of those that have classes, {names}."
        )
    return {name: one for name, one in class_weight.items() if one is not None}


def _weights_of(by_label, labels):
    """Return the weight of each label; 1 where there is none, as in scikit-learn.

    `compute_sample_weight` can't look up times, nor labels that all rows of a batch lack.
    """
    found, codes = np.unique(labels, return_inverse=True)
    pairs = zip(found.tolist(), found, strict=True)
    weights = [by_label.get(plain, by_label.get(label, 1.0)) for plain, label in pairs]
    return np.array(weights, "float64")[codes].reshape(labels.shape)


def check_by_label(by_label, classes):
    """Raise ValueError for a label that is none of the classes, or a weight that is no number.

    scikit-learn only sees the one if another class has no weight.
    """
    known = {*classes.tolist(), *classes}  # times are both
    for label, weight in by_label.items():
        if label not in known:
            more = ", ..." if len(classes) > _SHOWN else ""
            raise ValueError(
                f"class_weight has a weight for {label!r}, which is none of the classes; expected "
                f"some of {', '.join(map(repr, classes[:_SHOWN].tolist()))}{more}. Leave it out, "
                "or write it as in y, of the same type."
            )
        if not isinstance(weight, Real) or not np.isfinite(weight):
            raise ValueError(
                f"class_weight gives {label!r} the weight {weight!r}; expected a number of at "
                "least 0. Leave it out for a weight of 1."
            )


def weigh_indicators(class_weight, y, weight=None):
    """Weigh rows that have several labels each; see `compute_sample_weight`."""
    for column in class_weight if isinstance(class_weight, list) else ():
        if isinstance(column, dict):  # scikit-learn tells what is wrong with anything else
            check_by_label(column, np.array([0, 1]))
    by_class = compute_sample_weight(class_weight, in_memory(y))
    return by_class if weight is None else np.asarray(weight) * by_class


def balanced_indicators(y, rows):
    """Return the weights of 0 and 1 in each column with which both count alike among some rows."""
    y = in_memory(y)
    y = dense(y if rows is None else y[rows])
    ones = (y != 0).sum(axis=0).tolist()
    counts = ({0: len(y) - n, 1: n} for n in ones)
    return [{0: 0.0, 1: 0.0} | balanced({k: n for k, n in both.items() if n}) for both in counts]


def balanced(counts):
    """Return class weights with which all labels count alike, from their numbers or weights."""
    total = sum(counts.values())
    return {label: total / (len(counts) * n) if n else 0.0 for label, n in counts.items()}
