"""The errors a user can mend."""


class AsrKdError(Exception):
    """Something a user can mend: the message names the file, utterance or setting, and what to do.

    The command line prints the message alone and exits with status 1; any other exception is a defect
    of the program and keeps its traceback.
    """
