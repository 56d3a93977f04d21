"""A clip on its way into a file, in one pass or in several."""
