"""Makes the conformance streams in `spec/vectors/`: `python -m fev.tools.vectors [--check]`."""
