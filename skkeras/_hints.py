"""Advice: what to write instead of a name that nothing takes."""

import difflib

# What other libraries, or Keras elsewhere, call it.
_ALSO_CALLED = {
    "build_fn": "model",
    "clipnorm": "optimizer__clipnorm",
    "hidden_layer_sizes": "model__units",
    "learning_rate": "optimizer__learning_rate",
    "learning_rate_init": "optimizer__learning_rate",
    "lr": "optimizer__learning_rate",
    "max_iter": "epochs",
    "n_epochs": "epochs",
    "n_iter_no_change": "callbacks=keras.callbacks.EarlyStopping(patience",
    "patience": "callbacks=keras.callbacks.EarlyStopping(patience",
    "seed": "random_state",
    "solver": "optimizer",
    "weight_decay": "optimizer__weight_decay",
    **{
        name: f"compile__{name}"
        for name in ("jit_compile", "loss_weights", "run_eagerly", "weighted_metrics")
    },
    **{
        name: f"fit__{name}"
        for name in ("initial_epoch", "steps_per_epoch", "validation_batch_size")
    },
}
# Short for one of the names that are accepted.
_SHORT = {"lr": "learning_rate", "wd": "weight_decay"}

# Where the arguments of Keras's methods go that aren't those of the constructor.
_ARGUMENTS_OF_KERAS = {
    "fit": {
        "validation_data": "X_val=... and y_val=... of fit",
        "initial_epoch": "fit__initial_epoch=... of the constructor",
    },
    "partial_fit": {
        "epochs": "a call for each epoch, or fit with warm_start=True",
        "initial_epoch": "none, since it goes on from the last epoch",
        **dict.fromkeys(
            ("validation_data", "X_val", "y_val", "groups"), "none, since it validates on nothing"
        ),
    },
    "predict": {
        **{
            name: f"predict__{name}=... of the constructor"
            for name in ("batch_size", "verbose", "callbacks")
        },
        "steps": "the rows to predict as X",
    },
    "evaluate": {
        "return_dict": "none, since it returns a dict",
        "steps": "the rows to evaluate as X and y",
        **dict.fromkeys(("verbose", "callbacks"), "none, since it shows nothing"),
    },
}


def suggestion(name, accepted):
    """Return the accepted name that is nearest to a wrong one, and all of them, as a sentence.

    Examples
    --------
    >>> from skkeras._hints import suggestion
    >>> suggestion("unitz", ["units", "dropout"])
    "Did you mean 'units'? Accepted: 'dropout', 'units'."
    """
    accepted = sorted(accepted)
    if not accepted:
        return "Nothing is accepted here: leave it out."
    near = _nearest(name, accepted)
    question = f"Did you mean {near!r}? " if near else ""
    return f"{question}Accepted: {', '.join(map(repr, accepted))}."


def _nearest(name, accepted):
    if (meant := _SHORT.get(name)) in accepted:
        return meant
    lowered = {option.lower(): option for option in accepted}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[near[0]] if near else None


def advice(name, declared, prefixes, hyperparameters=()):
    """Return what to write instead of a parameter that an estimator doesn't have.

    It has those ``declared``, routes others by ``prefixes``; its builder takes ``hyperparameters``.

    Examples
    --------
    >>> from skkeras._hints import advice
    >>> advice("learning_rate", ["epochs"], ["model"])
    'Write optimizer__learning_rate=....'
    >>> advice("width", ["epochs"], ["model"], {"width"})
    'Write model__width=....'
    >>> advice("model_width", ["epochs"], ["model"])
    'Write model__width=....'
    """
    if name in hyperparameters:
        return f"Write model__{name}=...."
    if (called := _ALSO_CALLED.get(name)) is not None:
        return f"Write {called}=...{')' * called.count('(')}."
    prefix, _, rest = name.partition("_")
    if prefix in prefixes and prefix != "fit" and rest:  # fit_intercept is none of Keras's
        return f"Write {prefix}__{rest}=...."
    return suggestion(name, declared)


def check_no_others(method, others, own, declared=()):
    """Raise TypeError, which tells where an argument goes that a method doesn't take.

    The method takes its ``own``, and the constructor those ``declared``.

    Examples
    --------
    >>> from skkeras._hints import check_no_others
    >>> check_no_others("fit", {"epochs": 3}, ["X", "y"], ["model", "epochs"])
    Traceback (most recent call last):
    ...
    TypeError: fit() got an unexpected keyword argument 'epochs'; expected epochs=... of the \
constructor.
    >>> check_no_others("predict", {"batch_size": 8}, ["X"])
    Traceback (most recent call last):
    ...
    TypeError: predict() got an unexpected keyword argument 'batch_size'; expected \
predict__batch_size=... of the constructor.
    """
    predicts = method.startswith("predict") or method in ("score", "decision_function")
    of_keras = "predict" if predicts else method
    for name in others:
        if name in (places := _ARGUMENTS_OF_KERAS.get(of_keras, {})):
            place = places[name]
        elif name in declared:
            place = f"{name}=... of the constructor"
        elif (near := _nearest(name, list(own))) is not None:
            place = f"{near}=..."
        elif of_keras in ("fit", "predict"):
            place = f"{of_keras}__{name}=... of the constructor, if keras.Model.{of_keras} takes it"
        else:
            place = f"only {', '.join(own)}"
        raise TypeError(
            f"{method}() got an unexpected keyword argument {name!r}; expected {place}."
        )
