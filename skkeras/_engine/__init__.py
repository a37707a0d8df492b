"""The engine: compile once, train many.

`run` chooses between the two loops, `compiled_loop` and `keras_loop`. `net` is the model of one
fit; nets of one architecture share the `program` objects that `cache` keeps; `blueprints` puts off
making a net until somebody looks at it. `rows`, `epochs` and `streaming` supply batches, and
`augmentation` changes their inputs.
"""
