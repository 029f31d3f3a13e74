"""Help, errors and what the command line loads, without running a command."""

import subprocess
import sys

import pytest

from xmr_lib.command_line import run_command
from xmr_lib.commands import COMMANDS

COURSE = ["demo", "reproduce", "learning-curve", "assignments", "grade"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, code",
    [(["--help"], 0), (["doctor"], 0), (["trian"], 2), (["train", "--help"], 0), (["train"], 2)],
)
def test_help_doctor_and_mistakes_load_neither_torch_nor_pandas(arguments, code):
    program = (
        "import sys\n"
        "from xmr_lib.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    code = end.code\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
    assert done.returncode == code, done.stderr.decode()


@pytest.mark.parametrize("command", [*COMMANDS, *COURSE])
def test_help_shows_plain_types_and_real_defaults(command, capsys):
    from xmr_course.__main__ import COMMANDS as course

    everything = {**COMMANDS, **course}
    with pytest.raises(SystemExit) as stopped:
        run_command(everything, "python -m xmr_lib", [command, "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for riddle in ("{None}", "[STR [STR", "(default: )", "default: None", "default if used"):
        assert riddle not in said


def test_a_mistyped_command_is_one_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command(COMMANDS, "python -m xmr_lib", ["serach", "RUN"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "error: There is no command named 'serach'. Did you mean 'search' or 'extract'?\n"
    )
