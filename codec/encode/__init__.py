"""A clip on its way into a file.  `codec/encoder.py` is the way in.

    options         what a caller may choose
    carriers        which carrier finds the appearance under which model: the one place
    encoding        what both ways share: open the clip, start the file, report
    surveys         the faces of a clip, shot by shot; recognition: which actor a face is
    streaming       one pass, as the frames come
    wholeclip       the clip is surveyed first; clip: what that leaves behind, and its segments
    judging         which stretches go as plain video; shotchoice compares them
    shotvideo       a shot as video within so many bytes; likeness, haarpsi: whether that is better
    aim, trials     a bitrate: the file at many prices; shares tried where a model has no curves
    started         what has begun: the open clip, the file's header and actors
    outgoing        segments with the sound of their time, behind what they need

No module here knows what kind of carrier it has.
"""
