"""The parts of `fev-play`: bytes in, pictures and sound out, in time."""
