"""The paper's parser: a Stanford parser that the user points to, run once for many sentences.

Any jar with `edu.stanford.nlp.parser.lexparser.LexicalizedParser` will do, with any of its
grammars (`englishPCFG.ser.gz`); `XMR_STANFORD_JAR` and `XMR_STANFORD_GRAMMAR` say where they are.
Words come with the tags of the kit's tagger. What the parse adds to the tags: which words are one
noun phrase, and which verbs stand in a subordinate clause.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from xmr_lib.errors import DataError
from xmr_lib.language.corrections import FINITE
from xmr_lib.language.parsing import Chunk, chunks_of, compound
from xmr_lib.language.words import Token

if TYPE_CHECKING:
    import nltk

JAR, GRAMMAR = "XMR_STANFORD_JAR", "XMR_STANFORD_GRAMMAR"
_SEPARATOR = "_"  # no token holds one
_ESCAPED = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}
_LONGEST = 120  # words; time and memory of a parse grow with their cube
_OPTIONS = (
    "edu.stanford.nlp.parser.lexparser.LexicalizedParser -sentences newline -tokenized "
    f"-tagSeparator {_SEPARATOR} -tokenizerFactory edu.stanford.nlp.process.WhitespaceTokenizer "
    "-tokenizerMethod newCoreLabelTokenizerFactory -encoding utf-8 -outputFormat oneline"
).split()


def parse(
    tagged: Sequence[Sequence[Token]], progress: bool = False
) -> tuple[list[list[Chunk]], int]:
    """Chunks of every caption by the Stanford parser.

    Returns:
        The chunks, and how many captions the parser failed on (or were too long for it); for
        those the parser "chunk" was used.

    Raises:
        DataError: Java, the jar or the grammar is missing, or the parser stopped.
    """
    command = [*_java(), _file(JAR, "jar"), *_OPTIONS, _file(GRAMMAR, "grammar")]
    asked = [tokens for tokens in tagged if 0 < len(tokens) <= _LONGEST]
    parses = iter(_run(command, [_line(tokens) for tokens in asked], progress) if asked else ())
    chunks, failed = [], 0
    for tokens in tagged:
        parse = _tree(next(parses), tokens) if 0 < len(tokens) <= _LONGEST else None
        failed += parse is None and len(tokens) > 0
        chunks.append(chunks_of(tokens if parse is None else _with_phrases(parse, tokens)))
    return chunks, failed


def _java() -> list[str]:
    if java := shutil.which("java"):
        return [java, "-mx2g", "-cp"]
    raise DataError("The parser 'stanford' needs Java (8 or newer), and there is no `java` here.")


def _file(variable: str, what: str) -> str:
    path = os.environ.get(variable)
    if not path:
        raise DataError(
            f"The parser 'stanford' needs a Stanford parser's {what}: set {variable} to its path."
        )
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"No {what} at {path} (set by {variable}).")
    return str(path)


def _line(tokens: Sequence[Token]) -> str:
    """Words with their tags; brackets and commas are their own tags."""
    pairs = []
    for token in tokens:
        word = _ESCAPED.get(token.word, token.word)
        own = token.word in _ESCAPED or token.word in (",", ":")
        pairs.append(f"{word}{_SEPARATOR}{word if own else token.tag}")
    return " ".join(pairs)


def _run(command: list[str], lines: list[str], progress: bool) -> list[str]:
    """One parse a line, in the order of the lines."""
    with tempfile.TemporaryDirectory() as folder:
        sentences, errors = Path(folder) / "sentences.txt", Path(folder) / "errors.txt"
        sentences.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with (
            errors.open("wb") as log,
            subprocess.Popen(
                [*command, str(sentences)], stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
            ) as process,
        ):
            bar = tqdm(
                process.stdout, "Stanford parser", len(lines), disable=not progress, unit="sentence"
            )
            parses = [line.strip() for line in bar if line.strip()]
        if process.returncode != 0 or len(parses) != len(lines):
            said = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise DataError(
                f"The Stanford parser gave {len(parses)} parses for {len(lines)} sentences (exit "
                f"code {process.returncode}). Its last words: {' '.join(said[-3:])[-400:]}"
            )
    return parses


def _tree(text: str, tokens: Sequence[Token]) -> nltk.Tree | None:
    """A parse of these words; None where the parser found none."""
    import nltk  # slow to import

    try:
        tree = nltk.Tree.fromstring(text)
    except ValueError:
        return None
    return tree if len(tree.leaves()) == len(tokens) else None


def _with_phrases(tree: nltk.Tree, tokens: Sequence[Token]) -> list[Token]:
    """Tokens in which each base noun phrase is one noun, and subordinate verbs are not finite."""
    found: list[Token] = []
    position = 0
    in_compound = {
        j for i in range(len(tokens)) for j in range(i, i + compound(tokens, i))
    }  # "front" of "in front of" is no noun phrase

    def walk(node: nltk.Tree | str, subordinate: bool) -> None:
        nonlocal position
        if isinstance(node, str):
            token = tokens[position]
            position += 1
            if subordinate and token.tag in FINITE:
                token = Token(token.word, token.lemma, "VBN")
            found.append(token)
            return
        if node.label() == "SBAR" and _opens_with_preposition(node):
            position += 1
            found.append(Token("while", "while", "IN"))  # "as" that joins clauses, not things
            for child in node[1:]:
                walk(child, True)
            return
        if node.label() == "NP" and _is_base(node):
            places = range(position, position + len(node.leaves()))
            text = None if in_compound & set(places) else _fragment([tokens[i] for i in places])
            if text:
                position += len(places)
                found.extend([Token(text, text, "NN"), Token(",", ",", ".")])
                return
        subordinate = subordinate or node.label() in ("SBAR", "SBARQ")
        for child in node:
            walk(child, subordinate)

    walk(tree, False)
    return found


def _opens_with_preposition(clause: nltk.Tree) -> bool:
    """Whether one word that is tagged as a preposition opens a clause: "as", "after", "until"."""
    first = clause[0]
    return not isinstance(first, str) and first.label() == "IN" and first.height() == 2


def _is_base(node: nltk.Tree) -> bool:
    """A noun phrase without another phrase in it but adjectives and numbers."""
    inner = (sub.label() for sub in node.subtrees(lambda sub: sub is not node and sub.height() > 2))
    return all(label in ("ADJP", "QP", "NX", "NML") for label in inner)


def _fragment(tokens: Sequence[Token]) -> str | None:
    """The last noun of a base noun phrase with the word before it that tells more of it.

    None where the phrase is more than that: joined by "and", or with a verb behind its noun.
    """
    heads = [i for i, token in enumerate(tokens) if token.tag.startswith("NN")]
    if not heads or any(token.tag == "CC" for token in tokens):
        return None
    if any(token.tag.startswith("V") for token in tokens[heads[-1] + 1 :]):
        return None  # "a girl dressed" is a fragment and a relation
    before = tokens[heads[-1] - 1] if heads[-1] else None
    modifier = []
    if before is not None and before.tag.startswith(("JJ", "NN", "VBN", "VBG")):
        modifier = [before.word if before.tag.startswith("V") else before.lemma]
    return " ".join([*modifier, tokens[heads[-1]].lemma])
