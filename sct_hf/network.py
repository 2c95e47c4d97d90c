"""Telling why something could not be fetched or read."""


def failure_reason(error: BaseException) -> str:
    """The first line of an error's message, followed by that of the error at its root (the network's, say)."""
    root = error
    while (deeper := root.__cause__ or (None if root.__suppress_context__ else root.__context__)) is not None:
        root = deeper
    messages = [str(item).strip().split("\n")[0] or type(item).__name__ for item in (error, root)]
    return ": ".join(dict.fromkeys(messages))
