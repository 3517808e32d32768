"""Where a command meets the world: one line on standard error and a documented exit code for all that is no bug."""

import errno
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from sadstream.base import logs
from sadstream.base.errors import DataError, MissingFileError, SadstreamError, UnavailableError

INTERRUPTED = 130  # as shells say it of Ctrl-C
HOME = re.compile(r"^(--[a-z-]+=)?(ipc://)?(~(?:/.*)?)$", re.DOTALL)
LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # halves of a letter, which stand for no byte of a name either
ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
# What a room whose models are elsewhere is installed without (share/sadstream/room.txt).
OF_MODELS = frozenset({"torch", "torchaudio", "transformers", "tokenizers", "whisper", "safetensors", "silero_vad"})
# What the commands need, and an app that listens does not (docs/apps.md).
OF_COMMANDS = frozenset({"numpy", "platformdirs", "pydantic", "rich", "tomli_w", "typer"})
NOT_THERE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}
)


def enter(
    app: Callable[..., Any], name: str, arguments: Sequence[str] | None = None, interrupted: str = ""
) -> NoReturn:
    """Run a command and exit: 0 where the reader of its output went away, a traceback for nothing but our own bugs.

    interrupted: what to say at Ctrl-C, if anything.
    """
    _open_standard_streams()
    try:
        words = [at_home(word) for word in (sys.argv[1:] if arguments is None else arguments)]
        code = app(words, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as end:
        code = 0 if isinstance(end.__context__, BrokenPipeError) else end.code  # rich ends with 1 by itself
    except BrokenPipeError:  # `sadstream listen | head`
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = _told(name, error)
    if code == INTERRUPTED and interrupted:
        _say(name, interrupted)
    code = _flushed(name, code if isinstance(code, int) else 0)
    sys.exit(code)


def enter_module(module: str, name: str) -> NoReturn:
    """Run a module's `main`; where a library is missing that it imports, one line and 69."""
    try:
        main = import_module(module).main
    except ModuleNotFoundError as error:
        _open_standard_streams()
        sys.exit(_told(name, error))
    main()
    raise AssertionError(f"{module}.main returned")


def from_system(error: Exception, path: object = None) -> SadstreamError | None:  # noqa: PLR0911  a table
    """What the world did (a disk, a path, a locale, memory) as one of our errors; None for what is a bug of ours."""
    match error:
        case SadstreamError():
            return error
        case OSError():
            return _from_os(error, path)
        case UnicodeEncodeError():
            cure = f"cannot be said in this locale's {error.encoding}; set LANG=C.UTF-8"
            return DataError(f"{path or repr(error.object)}: {cure}")
        case UnicodeDecodeError():
            return DataError(f"{path or 'text'}: not UTF-8 at byte {error.start}: expected UTF-8; write it again")
        case MemoryError():
            return UnavailableError(f"{path or 'memory'}: not enough memory; end other programs, or give it less")
        case ModuleNotFoundError() if (error.name or "").partition(".")[0] in OF_MODELS:
            return UnavailableError(
                f"{error.name}: not installed, as in a room whose models are elsewhere; `pip install .` in the "
                'checkout brings it, compute.device = "remote" does without'
            )
        case ModuleNotFoundError() if (error.name or "").partition(".")[0] in OF_COMMANDS:
            return UnavailableError(
                f"{error.name}: not installed, as beside the client alone: expected all that sadstream depends on; "
                "install it again without --no-deps (a fake daemon needs pyzmq alone: python -m sadstream.testing)"
            )
        case RecursionError():
            return DataError(f"{path or 'input'}: nested too deeply; write it again")
    return None


def _from_os(error: OSError, path: object) -> SadstreamError:
    named = error.filename if path is None else path
    where = "" if named is None else f"{os.fsdecode(named) if isinstance(named, bytes) else named}: "
    what = error.strerror or str(error) or type(error).__name__
    if error.errno in NOT_THERE and where:
        return MissingFileError(f"{where}{what}: expected a path that can be opened; look at its permissions")
    cure = "make room, or write elsewhere" if error.errno in ROOM else "try again when that is mended"
    return UnavailableError(f"{where}{what}; {cure}")


def utf8(text: object) -> str:
    """Text that can be written as UTF-8: bytes of a name that are none as `\\xff`."""
    whole = LONE.sub("\N{REPLACEMENT CHARACTER}", str(text))
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(text: object) -> str:
    """The same on one line that no terminal obeys: what cannot be seen as `\\n`, `\\x1b`, `\\u2028`."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in utf8(text)
    )


def at_home(word: str) -> str:
    """A word of a command line with its leading `~` as the home, also after `--option=` and `ipc://`."""
    found = HOME.match(word)
    return word if found is None else f"{found[1] or ''}{found[2] or ''}{os.path.expanduser(found[3])}"  # noqa: PTH111  not Path: it would drop a last /


def _told(name: str, error: Exception) -> int:
    """The exit code of what was said: in one line, or as the traceback of a bug."""
    if hasattr(error, "format_message"):  # click's, of which typer carries a copy in some versions
        return _usage(name, error)
    known = from_system(error)
    if known is None:
        logs.fatal(traceback.format_exc())
        return 1
    if isinstance(error, OSError) and _of_stdout(error):
        known = UnavailableError(f"standard output: {error.strerror}; make room, or write elsewhere")
    _say(name, known)
    return known.exit_code


def _usage(name: str, error: Any) -> int:
    command = error.ctx.command_path if getattr(error, "ctx", None) else name
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
    else:
        said = error.format_message().replace("Value error, ", "").rstrip(".")
        _say(command, f"{said}; `{command} --help` lists what there is")
    return int(error.exit_code)


def _say(name: str, text: object) -> None:
    logs.fatal(f"{name}: {one_line(text)}")


def _of_stdout(error: OSError) -> bool:
    """An error without a path that standard output can have had: a file, a device or nothing behind it."""
    mode = os.fstat(1).st_mode
    behind = stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(1))
    return behind and error.filename is None and error.errno in ROOM | {errno.EBADF}


def _flushed(name: str, code: int) -> int:
    """The code once all is written; what cannot be written must not be tried again at the interpreter's end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _lead_nowhere(sys.stdout)
    except (OSError, ValueError) as error:
        _lead_nowhere(sys.stdout)
        if code == 0:
            known = UnavailableError(
                f"standard output: {getattr(error, 'strerror', error)}; make room, or write elsewhere"
            )
            _say(name, known)
            code = known.exit_code
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _lead_nowhere(sys.stderr)
    return code


def _lead_nowhere(stream: Any) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _open_standard_streams() -> None:
    """No descriptor of ours gets a number below 3; what goes to a file or a pipe is UTF-8 whatever the locale.

    To a standard output that was closed nothing can be written, and who tries is told; the errors of a closed
    standard error are lost; a closed standard input stays None.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    reconfigure = getattr(sys.stdout, "reconfigure", None)  # not where a test has put something else
    if reconfigure is not None:
        reconfigure(errors="backslashreplace", **({} if sys.stdout.isatty() else {"encoding": "utf-8"}))
