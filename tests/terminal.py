"""What a terminal shows of a program's output."""

import io
import re


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """The lines that stand there at the end, without spaces behind them."""
        screen, row, column = [""], 0, 0
        for text in re.findall(r"\x1b\[A|\r|\n|[^\r\n\x1b]+", self.getvalue()):
            if text == "\x1b[A":
                row = max(row - 1, 0)
            elif text == "\r":
                column = 0
            elif text == "\n":
                row, column = row + 1, 0
                screen += [""] * (row + 1 - len(screen))
            else:
                line = screen[row].ljust(column)
                screen[row] = line[:column] + text + line[column + len(text) :]
                column += len(text)
        lines = [line.rstrip() for line in screen]
        return lines[: 1 + max((row for row, line in enumerate(lines) if line), default=-1)]
