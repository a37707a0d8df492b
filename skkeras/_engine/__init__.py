"""The engine: compile once, train many.

A `net` is trained by one of two loops, `compiled_loop` and `keras_loop`. It owns the newest values
of its variables: it pushes them to programs and pulls them from there. Its `LazyModel` owns the
Keras model, which is made at once or by a blueprint, when somebody inspects it. Its
`compiled_functions` own its programs, or borrow the ones that nets of one architecture share from
the cache, and notice that the user has changed the model. A `program` owns its worker. `rows` and
`batches` are the two sources of data, with the same methods, and `augmentation` changes inputs.
"""
