"""What turns pictures into integers and back.

    encoder, decoder, puppet    where the stages meet: read these first
    encode/     the way of a clip into a file
    fit/        what carries a face's appearance, found and quantised; its motion against it
    paper/      the paper's pipeline on imported networks, a carrier like the others
    draw/       from the integers of a file to aligned pictures
    face/       where the face is, who it is, what stands behind it
    model/      what both ends hold before a file is sent: the model file and its networks
    threads/    stages side by side, batches in parts
    media/      video, sound and files

Arrows point down this list, and from all of it to `fev.format`.  Decoding needs draw and what is
below it.  `tests/test_rooms.py` reads the imports.
"""
