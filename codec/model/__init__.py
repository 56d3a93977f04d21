"""What both ends hold before a file is sent: the model file and its networks."""
