"""From pictures to the integers of a file: identity, pivot, delta, modes, motion."""
