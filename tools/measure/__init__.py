"""What only judges: measures of pictures and networks that score them.  Nothing here encodes."""
