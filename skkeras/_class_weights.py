"""Class weights: how much a row counts by its label, besides its own weight."""

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from skkeras._inputs import with_axes
from skkeras._targets import in_memory, naming


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
    if isinstance(by_label, dict):  # scikit-learn tells what is wrong with anything else
        # Weights of labels that were learnt, but that these rows happen to lack, are left out.
        lacking = set(target.classes.tolist()) - set(np.unique(labels).tolist())
        by_label = {label: one for label, one in by_label.items() if label not in lacking}
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


def weigh_indicators(class_weight, rows, y, weight=None):
    """Weigh rows that have several labels each; see `compute_sample_weight`."""
    by_class = compute_sample_weight(class_weight, in_memory(y), indices=rows)
    return by_class if weight is None else np.asarray(weight) * by_class


def balanced(counts):
    """Return class weights with which all labels count alike, from their numbers or weights."""
    total = sum(counts.values())
    return {label: total / (len(counts) * n) if n else 0.0 for label, n in counts.items()}
