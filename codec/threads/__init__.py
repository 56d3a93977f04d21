"""Work side by side: a stage a thread, a batch in parts."""
