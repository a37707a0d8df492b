"""All that is known of the insides of Keras objects.

`specs` reads shapes and dtypes, `fingerprint` tells which models may share a program, `copying` and
`layers` copy and pickle what Keras itself copies unfaithfully, and `seeding` makes Keras objects
from a seed without touching the user's random state.
"""
