"""What `python -m xmr_lib` can do: each command is a function, and its arguments are the options.

The functions import what they need when they run, so that help and errors come at once.
"""

from xmr_lib.commands.search import search
from xmr_lib.commands.starting import doctor, pretrain_toy, toy
from xmr_lib.commands.testing import evaluate
from xmr_lib.commands.training import extract, train

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "search": search,
    "extract": extract,
    "toy": toy,
    "pretrain-toy": pretrain_toy,
    "doctor": doctor,
}
