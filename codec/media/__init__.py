"""Video, sound and files: what is read and what is written.  Nothing here knows of faces.

Reading, in the order of the data (`video.open_video`, `audio.open_audio`):

    source              a path, open file or pipe, made readable twice; the demuxers that are let in
    foreign             what a source is that is no video
    probe               which streams are the talk, and whether the file is whole, before decoding:
      scan, clock, track    one pass over the packets: lengths, and time stamps that jump
      streams               the choice; truncation: what the container says is missing
    picturedecoder      packets to pictures with repaired time stamps; deinterlace joins fields
    display, colour     rotation, square pixels; YUV to RGB and back
    video -> frame.Frame, videoinfo.VideoInfo       audio, opus -> Opus packets on the same clock

Writing: containers chooses by name, mux writes through mp4 or y4m to a target that never fails in
front of FFmpeg.  still codes one picture, videoencoder a shot, and videodecoder reads it; obu takes
apart what they have in common.  files opens what callers name, outfile writes files that are whole
or absent, identities finds the file that another refers to.  arguments checks what callers give;
notices counts what there is to say.
"""
