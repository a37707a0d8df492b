"""Keras objects from the inside: all knowledge of it is in this folder.

`internals` knows Keras's attributes, `specs` reads shapes and dtypes, `fingerprint` finds models
that may share a program, by `content_hash` and `code_facts`, `copying` and `layers`
copy and pickle what Keras itself copies unfaithfully, and `seeding` makes Keras objects from a seed
without touching the user's random state.
"""
