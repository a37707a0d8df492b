"""Nested dicts, lists and tuples of arrays: apply a function to the leaves, or list them."""


def map_leaves(function, structure, *others):
    """Apply a function to the leaves of (nested) dicts, lists and tuples.

    `keras.tree` would do, but it takes array-likes with a length for leaves only by type.
    """
    if isinstance(structure, dict):
        return {k: map_leaves(function, v, *(o[k] for o in others)) for k, v in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(
            map_leaves(function, *vs) for vs in zip(structure, *others, strict=True)
        )
    return function(structure, *others)


def leaves(structure):
    """List the leaves of (nested) dicts, lists and tuples, in order."""
    found = []
    map_leaves(found.append, structure)
    return found
