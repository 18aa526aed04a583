"""The door where every error becomes a letter on stderr and an exit code: 0 done, 1 failure, 2 usage, 130 interrupted."""

import sys
from collections.abc import Callable
from types import TracebackType

from exegete.core.errors import ExegeteError

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


def run(work: Callable[[], int]) -> int:
    """Do the work; write the letter of an error to stderr and return its exit code."""
    try:
        return work()
    except ExegeteError as e:
        return letter(e.letter(), e.exit_code)
    except KeyboardInterrupt:
        return letter("Stopped. No file was left half written.", INTERRUPTED)
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone: nothing more is wanted, also not at exit
        return 0
    except MemoryError:
        return letter(
            "The work did not fit into memory.\nTry a shorter text, a larger --unit, or a smaller n_samples.",
            FAILURE,
        )


def letter(text: str, code: int) -> int:
    """Write a letter to stderr; returns the exit code given."""
    print(text, file=sys.stderr)
    return code


def unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What is said, in place of a traceback, about an error that nobody foresaw."""
    letter(
        f"Something unexpected went wrong: {kind.__name__}: {error}\n"
        "This is a fault of Exegete or of a library it uses, not of your input alone.\n"
        "Run the same command with --debug to see where, and please report it.",
        FAILURE,
    )
