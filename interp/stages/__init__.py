"""The stages of the way, one file each: a frozen configuration, and a function that does the stage in a run directory.

Single commands and ``interp demo`` call the same functions.
"""
