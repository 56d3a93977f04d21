"""Work side by side: `ahead` runs a stage on a thread of its own, `split` a batch in parts.

What comes out depends on neither: a machine with other cores finds the same.
"""
