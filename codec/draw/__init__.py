"""From the integers of a file to pictures."""
