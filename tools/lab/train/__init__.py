"""Training of the built-in model's parts; docs/training.md has the commands in their order.

data, aligner, prior, export, shared    the model: data, face finder, generator and inverter, file, modes
likeness, covered                       what tells people apart, and faces from covered ones
evaluate, sheet, check_*                what a model can do; figures and pictures of it
motiontables, motionbits, contexts      entropy tables from coded clips
landmarks, directions, direction_sheet  the direction matrix, and the landmark network it can be trained on
deltacurve                              what may carry appearance, compared at equal bytes
"""
