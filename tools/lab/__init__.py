"""Training and experiments: what made the built-in model.  Not part of the wheel."""
