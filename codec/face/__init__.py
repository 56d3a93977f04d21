"""Where the face is in a frame, who it is, what stands behind it.

    shots           a clip between its cuts; people: who is who in them, places: where they are
    faces           the faces of a shot, each with a survey of its own
    survey          one pass over a shot: every frame comes out with its placement and square
      align           finds and follows the face, smooths its placement, cuts the square
      person          tells the face that is followed from others; covered: a hand over the mouth
      registration    squares against key frames (imported networks)
      light           fades, flashes and what is a cut, by a coarse picture's grey levels
      absence         what is sent where nobody is there
    camera          how the camera moves; keypicture: where one picture lies in another
    background      the still behind the face; mosaic: the larger one where the camera moves
      median        what lies behind what moves
    portrait        which frame stands best for a face; regions: where people look in the square
    paste           puts the decoded square back into the frame: all that decoding needs of this room

A placement is a row (cx, cy, half, angle): centre and half side of the square in pixels of the
frame, angle in radians, positive clockwise on the screen.
"""
