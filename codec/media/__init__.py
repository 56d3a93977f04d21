"""Video, sound and files: what is read and what is written.  Nothing here knows of faces."""
