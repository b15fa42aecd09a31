"""The one exception that a user's mistake becomes."""


class UserError(Exception):
    """Something that the user can put right.

    The message is one sentence that names the thing, the value and the remedy. The command line prints it
    without a traceback and exits with code 2.
    """
