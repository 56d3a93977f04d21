"""Where the face is in a frame, who it is, what stands behind it."""
