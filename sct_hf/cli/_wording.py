"""Names of options in messages, as a command line writes them: `--skip_missing_images true`."""

import argparse
import re

_VERBS = "pass|set|give|or"
# Where a name is no part of a path, a quoted text or another word.
_START, _END = r"(?<![\w\-/\\.'\"`=])", r"(?![\w/\\'\"`\-]|\.\w)"
_FILES = ("train_file", "eval_file")


def in_options(text: str, parser: argparse.ArgumentParser) -> str:
    """Write the names of a command's options in a message with their dashes, and switches with `true`.

    Messages name fields as Python does, since the same functions are called from Python. A name with an underscore is
    an option wherever it stands alone; another one only at the start of the message, or after "pass".

    Args:
        text: The message.
        parser: The parser of the command.
    """
    options = {
        action.option_strings[0].removeprefix("--"): action.metavar == "true|false"
        for action in parser._actions
        if action.option_strings and action.option_strings[0].startswith("--")
    }
    if files := [f"--{name}" for name in _FILES if name in options]:
        text = re.sub("(^|: )files(?= is )", rf"\1{' or '.join(files)}", text)
    names = "|".join(sorted(map(re.escape, options), key=len, reverse=True))
    long = "|".join(name for name in names.split("|") if "_" in name)
    text = re.sub(rf"^({names})(?= is | has |=|: | and )", r"--\1", text)
    text = re.sub(rf"(?<=pass )({names}){_END}", r"--\1", text)
    if long:
        text = re.sub(rf"{_START}({long}){_END}", r"--\1", text)
    switches = "|".join(name for name, is_switch in options.items() if is_switch)
    if switches:
        text = re.sub(rf"((?:{_VERBS}) --(?:{switches})){_END}(?! (?:true|false|to )|=)", r"\1 true", text)
    return text
