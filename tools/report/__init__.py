"""The parts of `fev-rd` (`fev.tools.rd` is the command): squares, coding, scoring, jobs, curves, views and the page."""
