"""The paper's pipeline, a carrier like the others, and the networks that it runs on.

"The paper" is "Expressive Talking Head Video Encoding in StyleGAN2 Latent-Space" by Oorloff and
Yacoob (arXiv 2203.14512, ICCV workshops 2023).  Its supplement gives most of the constants; where
neither says something, a module's docstring says what was chosen.

    registration (face room), inversion, selection, pose, facial, pti    stages 1 to 6, each alone
    pipeline            the stages in their order, segment by segment
    fitter              the carrier that the encoder drives
    attributes          where each facial attribute is, and how strongly a channel moves it
    similarity          the distances that searches minimise
    networks            imported networks by name, each loaded when it is first asked for
    arcface, bisenet, e4e, irse, perceptual, directions     the networks
    posebasis           yaw and pitch without StyleFlow
    imports/            official files in, without running anything in them

Written from the published papers and layouts.  Module names are the keys of the official
checkpoints, so that those load as they are.  No weights are in the package.
"""
