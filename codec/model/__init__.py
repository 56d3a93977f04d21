"""What both ends hold before a file is sent: the model file and its networks.

library         where models lie, built in and imported
modelfile       bytes of a model file <-> `Model`; build makes its networks empty
stylegan2       the generator
inverter        picture -> features; LatentSpace, the basis of our own model
stylespace      the basis of imported networks; styleflow turns their heads
shared, planes  modes that move any pivot: textures and flow as wavelet planes
aligner         rough square -> FFHQ square
animator        the generator that moves a pivot; trained in tools/lab
pictures        -1 to 1 <-> grey levels 0 to 255
devices         which device computes, and in which type
"""
