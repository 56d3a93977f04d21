"""The training kit of the animator: `crops` and `pack` make the data, `train` trains, `sheet` shows."""
