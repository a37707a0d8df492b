"""Saving: estimators to files, and the model of a fitted one as data that a pickle can hold."""

import os
import pathlib
import shutil
import uuid

import joblib

from skkeras._engine.lazy_model import state_variables
from skkeras._keras_objects.copying import check_same, is_picklable, pack_model
from skkeras._keras_objects.seeding import build_optimizer, make_seeded


def dump(value, path, **options):
    """Save an estimator as `joblib.dump` does, but replace a file only by a complete one.

    If the disk is full, or the process dies meanwhile, an earlier file of this name is as it was.
    Load it with `joblib.load`.

    Parameters
    ----------
    value : object
        An estimator, fitted or not, or a Pipeline or a search with it.
    path : str or os.PathLike
        The file. The new one is written beside it, so there has to be room for both.
    **options : dict
        As ``compress``, for `joblib.dump`.

    Raises
    ------
    OSError
        If it can't be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skkeras import KerasClassifier
    >>> from skkeras.saving import dump
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dump(KerasClassifier(), pathlib.Path(folder) / "net.joblib")
    """
    path = pathlib.Path(path).resolve()  # of a link, the file that it leads to
    # With its suffix, by which joblib chooses a compression.
    beside = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        joblib.dump(value, beside, **options)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def pack(model, recipe):
    """Turn a model into data for a pickle or a deep copy.

    Parameters
    ----------
    model : keras.Model
        Compiled, with a built optimizer. It isn't changed.
    recipe : Recipe
        What the model was made from.

    Returns
    -------
    packed : dict
        For `unpack`. A model that Keras can't write is made again by its builder: only the
        values of its variables are packed.

    Raises
    ------
    ValueError
        If the model can be packed neither way, with all that it was compiled with.
    """
    try:
        stand_in, copied = pack_model(model)
        _check_state(model, build_optimizer(copied))
    except ValueError:
        if not _makes_again(recipe, model):
            raise
    else:
        # What a builder defines inside it is no obstacle if the builder is run again.
        if is_picklable(stand_in) or not _makes_again(recipe, model):
            return {"model": stand_in, "state": _values(_optimizer_variables(model))}
    return {"state": _values(state_variables(model))}


def unpack(packed, recipe):
    """Make the model again that `pack` was given.

    Parameters
    ----------
    packed : dict
        From `pack`, after pickling and loading, or a deep copy. As with every pickle, it must come
        from a source you trust.
    recipe : Recipe
        As `pack` was given.

    Returns
    -------
    model : keras.Model
        With the same values in all its variables, those of its optimizer included.
    """
    if "model" in packed:
        model = build_optimizer(packed["model"])
        variables = _optimizer_variables(model)
    else:
        model = _remade(recipe)
        variables = state_variables(model)
    for variable, value in zip(variables, packed["state"], strict=True):
        variable.assign(value)
    return model


def _makes_again(recipe, model):
    if not recipe.is_repeatable:
        return False
    try:
        check_same(model, _remade(recipe))
    except ValueError:
        return False
    return True


def _remade(recipe):
    return build_optimizer(make_seeded(recipe, seed=0))


def _check_state(model, other):
    shapes = [[tuple(v.shape) for v in _optimizer_variables(m)] for m in (model, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "The optimizer of model_ was built for other variables than are trainable now; call "
            "model_.compile again after freezing layers."
        )


def _optimizer_variables(model):
    return model.optimizer.variables if model.optimizer is not None else []


def _values(variables):
    return [variable.numpy() for variable in variables]
