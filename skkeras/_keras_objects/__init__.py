"""Keras objects from the inside: all knowledge of it is in this folder.

`internals` knows Keras's attributes, reads shapes and dtypes, and makes Keras objects from a seed
without touching the user's random state; `fingerprint` finds models that may share a program, by
`content_hash` and `code_facts`; `copying` and `layers` copy and pickle what Keras itself copies
unfaithfully; `held` and `references` find what a user's objects hold, and what code names.
"""
