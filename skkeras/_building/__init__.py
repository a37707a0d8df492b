"""From an estimator's parameters to a compiled `keras.Model`.

`recipe` collects parameters and facts about the data; `model` builds, compiles and checks the
model, with the optimizer, loss and metrics of `compile_args`; `output_activation` tells a net's
probabilities from logits.
"""
