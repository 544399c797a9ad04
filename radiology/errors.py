"""The one exception that means "what you gave me cannot be used"."""


class InputError(ValueError):
    """Bad input from outside: a file, a field, an option.

    The message is written for the person who meets it: what was wrong, where, and what to do.
    The command line prints it without a traceback and exits with status 2.
    """
