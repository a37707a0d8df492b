"""All that is known of the insides of Keras objects.

`internals` finds what Keras keeps in attributes, `specs` reads shapes and dtypes, `fingerprint`
tells by `content_hash` and `code_facts` which models may share a program, `copying` and `layers`
copy and pickle what Keras itself copies unfaithfully, and `seeding` makes Keras objects from a seed
without touching the user's random state.
"""
