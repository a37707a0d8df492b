"""Augmentation: inputs that are changed at random for every step of training."""

import copy
import functools
import inspect
import reprlib
from collections.abc import Mapping

import numpy as np

from skkeras._engine.rows import map_leaves
from skkeras._keras_objects.copying import pack
from skkeras._keras_objects.internals import is_layer
from skkeras.data._named import NamedArrays

# A parameter of such a name gets the generator, wherever it is and whatever its default.
_GENERATOR_NAMES = ("rng", "generator", "random_state")
_BY_POSITION = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_augment(augment):
    """Raise unless a value can augment batches, or is None."""
    if augment is not None and (isinstance(augment, type) or not callable(augment)):
        raise TypeError(
            f"augment={reprlib.repr(augment)} is of type {type(augment).__name__}; expected a "
            "function of a batch and a numpy.random.Generator, an instance of a Keras layer such "
            "as keras.layers.RandomFlip(), or None."
        )


def make_augmentation(augment):
    """Return ``augmentation(x, seed)``, the same change for the same seed; or None.

    The generator goes to the parameter called ``rng``, ``generator`` or ``random_state``, or else
    to the second one, unless that has a default. A layer is copied, so that fits in other threads
    don't disturb its random numbers. Integers are rounded and clipped to the range of their dtype,
    as `keras.ops.image.resize` and OpenCV do.

    Examples
    --------
    >>> import numpy as np
    >>> from skkeras._engine.augmentation import make_augmentation
    >>> noisy = make_augmentation(lambda x, rng: x + rng.integers(9, size=x.shape))
    >>> x = np.zeros((1, 3), dtype="float32")
    >>> noisy(x, 0)
    array([[7., 5., 4.]], dtype=float32)
    >>> noisy(x, 0)
    array([[7., 5., 4.]], dtype=float32)
    >>> make_augmentation(lambda x: x - 9.6)(np.array([[5, 100]], dtype="uint8"), 0)
    array([[ 0, 90]], dtype=uint8)
    >>> make_augmentation(lambda x: x[:, :2])(x, 0)
    Traceback (most recent call last):
    ...
    ValueError: augment returned shape (1, 2) for a batch of shape (1, 3); expected the same shape.
    It changes rows, and leaves their number and shape.
    """
    if augment is None:
        return None
    draw = _of_layer(augment) if is_layer(augment) else _of_function(augment)

    def augmentation(x, seed):
        # Several inputs as copies, since the function may put others into the dict, or swap them.
        given = map_leaves(np.copy, x) if isinstance(x, dict | list | tuple) else x
        try:
            changed = draw(given, np.random.default_rng(seed))
        except StopIteration as error:  # further out it would end a generator, as if all were done
            raise RuntimeError(
                "augment raised StopIteration; expected a changed batch. Look at next() in it: "
                "itertools.cycle makes an iterator that doesn't end."
            ) from error
        return _like(x, changed)

    return augmentation


def _of_function(function):
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # it has no signature, as some functions written in C
        return function
    if parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]  # the batch
    bound = function.keywords if isinstance(function, functools.partial) else {}
    second = next((one for one in parameters if one.kind in _BY_POSITION), None)
    named = next((one for one in parameters if one.name in _GENERATOR_NAMES), None)
    if named is not None and named.kind in _BY_NAME and named.name not in bound:
        return lambda x, rng: function(x, **{named.name: rng})
    if second is not None and (second.default is second.empty or second is named):
        return function
    return lambda x, rng: function(x)


def _of_layer(layer):
    layer = copy.deepcopy(pack(layer))

    def draw(x, rng):
        try:
            return changed(x, rng)
        except Exception as error:
            if not isinstance(x, dict | list | tuple):
                raise
            raise TypeError(
                f"augment={layer!r} raised {type(error).__name__} for {_described(x)}; expected "
                "a layer that takes and returns such. Most take one array; "
                "keras.Model(inputs, {**inputs, 'a': layer(inputs['a'])}), where inputs is a dict "
                "of keras.Input, makes one that changes the input 'a'."
            ) from error

    def changed(x, rng):
        if getattr(x, "ndim", None) == 3 and (order := _image_order(layer)) is not None:
            # Three axes are one image to such layers, whose rows they would move.
            channel = 1 if order == "channels_first" else -1
            return np.squeeze(np.asarray(called(np.expand_dims(x, channel), rng)), channel)
        return called(x, rng)

    def called(x, rng):
        if not layer.built:
            layer(x)
        for variable in layer.variables:
            if variable.path.endswith("seed_generator_state"):
                variable.assign(rng.integers(2**31, size=2))
        return layer(x, training=True)

    return draw


def _image_order(layer):
    """Return the order of axes of a layer that changes images, alone or one after the other."""
    if layer.input_spec is None and hasattr(layer, "data_format"):
        return layer.data_format
    orders = map(_image_order, getattr(layer, "layers", ()))
    return next((order for order in orders if order is not None), None)


def _like(x, changed, name="a batch"):
    """Check what an augmentation returned, and cast it to the dtypes of what it got."""
    if isinstance(x, dict):
        changed = dict(changed.items()) if isinstance(changed, NamedArrays) else changed
        if not isinstance(changed, Mapping) or set(changed) != set(x):
            raise ValueError(
                f"augment returned {_described(changed)} for {_described(x)}; expected a dict with "
                "the same names. Change arrays in the dict, and return it whole."
            )
        return {key: _like(part, changed[key], repr(key)) for key, part in x.items()}
    if isinstance(x, list | tuple):
        if not isinstance(changed, list | tuple) or len(changed) != len(x):
            raise ValueError(
                f"augment returned {_described(changed)} for {_described(x)}; expected a list of "
                "as many, in the same order."
            )
        parts = zip(x, changed, strict=True)
        return type(x)(_like(*both, f"the input at {i}") for i, both in enumerate(parts))
    return _like_array(x, changed, name)


def _described(structure):
    if isinstance(structure, Mapping):
        return f"a dict with {', '.join(map(repr, structure))}"
    if isinstance(structure, list | tuple):
        return f"a {type(structure).__name__} of {len(structure)}"
    if shape := np.shape(structure):
        return f"shape {shape}"
    return "None" if structure is None else f"a {type(structure).__name__}"


def _like_array(x, changed, name):
    changed, returned = np.asarray(changed), changed
    if changed.shape != x.shape:
        raise ValueError(
            f"augment returned {_described(returned)} for {name} of shape {x.shape}; expected the "
            "same shape. It changes rows, and leaves their number and shape."
        )
    if changed.dtype.kind == "f" and not np.isfinite(changed).all() and np.isfinite(x).all():
        raise ValueError(
            f"augment returned NaN or infinity for {name} without; expected finite numbers. Look "
            "at divisions and logarithms in it."
        )
    if x.dtype.kind in "iu" and changed.dtype != x.dtype:
        return _saturated(changed, x.dtype)
    return changed.astype(x.dtype, copy=False)


def _saturated(values, dtype):
    """Cast to integers; round, and clip what doesn't fit."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if values.dtype.kind in "iu":
        low, high = max(low, np.iinfo(values.dtype).min), min(high, np.iinfo(values.dtype).max)
    else:  # in a dtype that holds the bounds; of 64 bits none does, and clips a little earlier
        with np.errstate(over="ignore"):  # infinity is clipped, too
            values = np.rint(values.astype("float32" if dtype.itemsize <= 2 else "float64"))
        high = high if dtype.itemsize < 8 else np.nextafter(float(high), 0)
    return np.clip(values, low, high).astype(dtype)
