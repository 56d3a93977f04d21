"""The networks of "Expressive Talking Head Video Encoding in StyleGAN2 Latent-Space" and the files they come in.

Written from the published papers and layouts; module names are the keys of the official checkpoints, so that those load
as they are.  No weights are in the package: `checkpoint` reads the files a user brings, `layouts` recognises them,
`imports` writes what `fev.codec.model.modelfile` loads.
"""
