"""From an estimator's parameters to a compiled `keras.Model`.

`recipe` collects parameters and facts about the data; it builds, compiles and checks the model,
with the optimizer, loss and metrics of `compile_args`; `metric_targets` tells what metrics read,
and `scikeras_meta` makes the ``meta`` that SciKeras's builders ask for.
"""
