"""From the integers of a file to aligned pictures: what the encoder fits against, the decoder
shows.

units       quantiser steps of the integers, and what they mean in pixels and radians
pivot       the still that a clip's appearance is a change of
delta       a change of the generator's weights (imported networks)
modes       a clip's own textures and flow
render      identity, delta, modes and pivot put together: parameters in, pictures out
"""
