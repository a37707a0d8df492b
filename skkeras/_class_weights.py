"""Class weights: how much a row counts by its label, besides its own weight."""

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from skkeras._targets import in_memory


def weigh_labels(by_label, target, y, weight=None):
    """Weigh rows by their labels, times their own weight.

    Rows of several labels, and weights for unknown labels, raise ValueError.
    """
    labels = target.strata(y)
    if labels is None:
        raise ValueError(
            f"Got class_weight={by_label!r} with a dataset or generator whose rows have "
            "several labels or outputs; expected None. Let it yield weights."
        )
    if isinstance(by_label, dict):  # scikit-learn tells what is wrong with anything else
        # Weights of labels that were learnt, but that these rows happen to lack, are left out.
        lacking = set(target.classes.tolist()) - set(np.unique(labels).tolist())
        by_label = {label: one for label, one in by_label.items() if label not in lacking}
    by_class = compute_sample_weight(by_label, labels)
    return by_class if weight is None else weight * by_class


def weigh_indicators(class_weight, rows, y, weight=None):
    """Weigh rows that have several labels each; see `compute_sample_weight`."""
    by_class = compute_sample_weight(class_weight, in_memory(y), indices=rows)
    return by_class if weight is None else np.asarray(weight) * by_class


def balanced(counts):
    """Return class weights with which all labels count alike, from their numbers or weights."""
    total = sum(counts.values())
    return {label: total / (len(counts) * n) if n else 0.0 for label, n in counts.items()}
