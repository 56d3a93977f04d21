"""Training and experiments: what made the built-in model.  Not part of the wheel.

Each is run from a checkout as `python -m fev.tools.lab.NAME`; `--help` has its options.

    bench           speed and memory on this machine
    discover        the channels of StyleSpace that move each attribute of a face
    netsim          a bad link: drops, delays and damages what goes through it
    stages          what each stage of the paper's pipeline gains, on a clip
    torture         breaks a file in every possible place and counts what is noticed
    train           the built-in model, shared modes, entropy tables, the direction matrix
    animator        the animator, on a machine with a GPU
"""
