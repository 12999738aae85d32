"""Reads Rust source without a compiler, for the scripts beside it.

`tokens` splits a file into tokens and drops test code; `files` lists the
program's files without test modules.
"""
import functools
import pathlib
import re
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("src", "credential-cache/src")

TOKEN = re.compile(
    r"""(?P<doc>///(?!/)[^\n]*|//![^\n]*)
      |(?P<comment>//[^\n]*|/\*.*?\*/)
      |(?P<raw>\b[bc]?r(?P<fence>\#*)".*?"(?P=fence))
      |(?P<string>\b[bc]?"(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*")
      |(?P<char>\bb?'(?:[^'\\\n]|\\[^u\n]|\\x..|\\u\{[^}]*\})'|'(?:[^'\\\n]|\\[^u\n]|\\x..|\\u\{[^}]*\})')
      |(?P<lifetime>'\w+)
      |(?P<word>(?:r\#)?[^\W\d]\w*)
      |(?P<number>\d\w*)
      |(?P<mark>::|[^\s\w])""",
    re.VERBOSE | re.DOTALL,
)
TEST_FILE = re.compile(r"(^|/)tests?(/|\.rs$)|_tests?\.rs$|(^|/)(benches|examples)/")


class Token(typing.NamedTuple):
    kind: str
    text: str
    line: int


def lex(text):
    out, line, at = [], 1, 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        kind = "string" if match.lastgroup in ("raw", "fence") else match.lastgroup
        if kind != "comment":
            out.append(Token(kind, match.group().removeprefix("r#") if kind == "word" else match.group(), line))
    return out


def closing(found, at):
    """The index behind the bracket that closes the one at `at`."""
    depth = 0
    while at < len(found):
        if found[at].kind == "mark":
            depth += (found[at].text in "([{") - (found[at].text in ")]}")
            if depth == 0:
                return at + 1
        at += 1
    return at


def item_end(found, at):
    """The index behind the item that starts at `at`: its `;` or `}`."""
    while at < len(found):
        mark = found[at].text if found[at].kind == "mark" else ""
        if mark in (";", ","):
            return at + 1
        if mark == "{":
            return closing(found, at)
        if mark in ("}", ")"):  # the last field or arm of what is around it
            return at
        at = closing(found, at) if mark and mark in "([" else at + 1
    return at


def attribute(found, at):
    """The text of the attribute at `at` and the index behind it, or None."""
    if found[at].text != "#" or at + 1 >= len(found):
        return None
    bracket = at + 2 if found[at + 1].text == "!" else at + 1
    if bracket >= len(found) or found[bracket].text != "[":
        return None
    end = closing(found, bracket)
    return "".join(token.text for token in found[bracket + 1 : end - 1]), end


def is_test(text):
    return re.match(r"(cfg\((all\()?test\b|test$)", text) is not None


@functools.cache
def read(path):
    """(tokens without test code, names of the modules that only tests have)"""
    found, out, tests, at = lex(path.read_text()), [], [], 0
    while at < len(found):
        seen = attribute(found, at)
        if seen is None or not is_test(seen[0]):
            out.append(found[at])
            at += 1
            continue
        if found[at + 1].text == "!":  # the whole file
            return [], tests
        while out and out[-1].kind == "doc" and out[-1].text.startswith("///"):
            out.pop()
        start = at = seen[1]
        file = None
        while at < len(found) and (found[at].kind == "doc" or attribute(found, at)):
            if found[at].kind == "doc":
                at += 1
                continue
            text, at = attribute(found, at)
            if text.startswith('path="'):
                file = text[6:-1]
        end = item_end(found, at)
        words = [token.text for token in found[at:end] if token.kind == "word"]
        if "mod" in words and found[end - 1].text == ";":
            tests.append(file or words[words.index("mod") + 1])
        at = max(end, start)
    return out, tests


def tokens(path):
    return read(path)[0]


def children(path):
    """The folder in which the modules of the file at `path` have their files."""
    return path.parent if path.stem in ("mod", "lib", "main") else path.parent / path.stem


@functools.cache
def files(folders=FOLDERS):
    """Every file of the program's own code, without those that only tests use."""
    every = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.rs"))
    every = [file for file in every if not TEST_FILE.search(str(file.relative_to(ROOT)))]
    dropped = set()
    for file in every:
        for name in read(file)[1]:
            if name.endswith(".rs"):
                dropped.add(file.parent / name)
            else:
                dropped |= {children(file) / f"{name}.rs", children(file) / name / "mod.rs"}
    return [file for file in every if file not in dropped]
