"""Saving: the model of a fitted estimator as data that a pickle can hold."""

from skkeras.engine.building import make_seeded
from skkeras.engine.copying import check_same, is_picklable, pack_model
from skkeras.engine.net import state_variables


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
        _check_state(model, _build_optimizer(copied))
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
        model = _build_optimizer(packed["model"])
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
    return _build_optimizer(make_seeded(recipe, seed=0))


def _build_optimizer(model):
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return model


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
