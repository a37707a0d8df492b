"""Batches ``(x, y, weight)`` of arrays, from the elements of a stream."""

import numpy as np
from scipy.sparse import issparse

RAGGED = (
    "X yields ragged tensors, whose rows have different lengths; expected rows of one shape. Pad "
    "them: .to_tensor() in the dataset's map."
)


def joined(batches):
    """Concatenate batches."""
    if len(batches) == 1:
        return batches[0]
    return tuple(_joined(parts) for parts in zip(*batches, strict=True))


def n_rows(batch):
    """Count the samples of a batch."""
    return len(leaves(batch[0])[0])


def _joined(parts):
    if parts[0] is None:
        return None
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    if isinstance(parts[0], tuple):
        return tuple(_joined(each) for each in zip(*parts, strict=True))
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise ValueError(
            f"X's batches have rows of the shapes {sorted(shapes)}; expected one shape. Pad them."
        )
    return np.concatenate(parts)


def split(element):
    """Split an element as Keras does: ``x`` alone, or a tuple of one to three parts."""
    parts = element if isinstance(element, tuple) and not _is_sparse(element) else (element,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            f"X yields tuples of length {len(parts)}; expected (x, y) or (x, y, sample_weight)."
        )
    return parts


def to_batch(element, decodes):
    """Convert an element into a batch of arrays with equally many rows."""
    parts = [_arrays(_decoded(part) if decodes else part) for part in split(element)]
    parts += [None] * (3 - len(parts))
    lengths = {leaf.shape[:1] for part in parts for leaf in leaves(part)}
    if () in lengths:
        raise ValueError(
            "X yields single samples; expected batches, whose first axis is the samples. Use "
            ".batch(32) on a tf.data.Dataset, or yield several rows at once."
        )
    if len(lengths) != 1:
        sizes = sorted(length[0] for length in lengths)
        raise ValueError(
            f"X yields a batch whose parts have {sizes} rows; expected as many targets (and "
            "weights) as inputs."
        )
    return tuple(parts)


def _arrays(part):
    if part is None:
        return None
    if isinstance(part, dict):
        return {str(name): _arrays(leaf) for name, leaf in part.items()}
    if issparse(part):
        return part.toarray()
    if _is_sparse(part):
        dense = np.zeros(np.asarray(part.dense_shape), np.asarray(part.values).dtype)
        dense[tuple(np.asarray(part.indices).T)] = part.values
        return dense
    if hasattr(part, "row_splits"):
        raise TypeError(RAGGED)
    if isinstance(part, list | tuple):
        raise TypeError(
            f"X yields batches with a {type(part).__name__} in them; expected an array, or a dict "
            "of arrays for several inputs or outputs."
        )
    return np.asarray(part)


def _is_sparse(part):
    """Tell whether this is one of TensorFlow's sparse tensors, or the tuple it becomes."""
    return all(hasattr(part, name) for name in ("indices", "values", "dense_shape"))


def leaves(part):
    if isinstance(part, dict):
        return [*part.values()]
    return [] if part is None else [part]


def _decoded(part):
    """Decode TensorFlow's bytes into strings."""
    if isinstance(part, dict):
        return {name: _decoded(leaf) for name, leaf in part.items()}
    if isinstance(part, np.ndarray) and part.dtype == object:
        return np.array([*map(_text, part.flat)], dtype=object).reshape(part.shape)
    return part


def _text(value):
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise ValueError(
            f"X is a tf.data.Dataset that yields {value[:40]!r} as text; expected UTF-8. Convert "
            "text in its map, by tf.strings.unicode_transcode(text, 'ISO-8859-1', 'UTF-8') if that "
            "is what it is; and turn what is no text, such as an image, into numbers there."
        ) from error
