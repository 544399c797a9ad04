"""Studies × conditions × strengths × controls: design, running, statistics."""
