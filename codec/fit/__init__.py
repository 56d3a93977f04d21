"""From pictures to the integers of a file: identity, pivot, delta, modes, motion.

    carrier             the seam: what a carrier answers, and the appearance that it finds
    appearance, reuse   two carriers: models with an inverter; an identity that another file holds
    reading, keyframes  what the inverter sees; which frames stand for a clip
    pivotcoding, tune, modefit, modebasis, coefficients, optimise, adam, loss
                        the parts of an appearance, each fitted within its bytes
    worst, modeagain, weighing, spread
                        every frame drawn and measured, the modes fitted again for the worst
    motion, refine, regression
                        parameters of frames against what was quantised
    quantiser, rdoq, sensitivity
                        parameters to integers, by what an error shows and a bit costs
    budget, ratecontrol how many bytes who and how may take
    effort, stages      how much work a preset does; what is told of it
    cropstore           squares of a clip on disk

Nothing here knows of the caller's options; `effort` says all that a preset means.
"""
