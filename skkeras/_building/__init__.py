"""From an estimator's parameters to a compiled `keras.Model`.

`recipe` collects parameters and facts about the data, builds the model, compiles it with the
optimizer, loss and metrics of `compile_args`, and checks it.
"""
