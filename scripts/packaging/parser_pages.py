#!/usr/bin/python3
"""parser_pages.py DIR: writes heaparena.1 (the man page) and completion (for bash) from the command's own
parser, so that neither can say what the command does not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parents[2]
sys.path[0:0] = [str(ROOT), str(ROOT / "scripts")]

from cli import build  # noqa: E402  (the path above must come first)
from cli.main import parser as top_parser  # noqa: E402

FILES = """.SH FILES
.TP
.I ~/.config/heaparena/allocators
Allocators of your own, one NAME=/path/lib.so[:prefix_] a line.
.TP
.I ~/.local/share/heaparena/runs
Where the installed command puts results, unless
.B \\-\\-out
names a folder.
.SH ENVIRONMENT
.TP
.B HEAPARENA_ALLOCATORS
Allocators of your own: NAME=/path/lib.so[:prefix_], separated by commas.
.TP
.B HEAPARENA_BUILD
A build folder whose programs are used in place of the installed ones.
.TP
.B HEAPARENA_DEBUG
Set to 1, a fault in heaparena itself shows a traceback.
.SH EXIT STATUS
0 good; 1 something failed, was found or regressed; 2 wrong input, said in one line; 130 stopped.
"""


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser's subcommands by name, if it has any."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def shown(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Its options and positional arguments, less those that are hidden or are the subcommands themselves."""
    for action in parser._actions:
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction):
            yield action


def walk(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """(words, parser) of every command below `parser` that does something."""
    for name, below in subcommands(parser).items():
        if subcommands(below):
            yield from walk(below, (*words, name))
        else:
            yield (*words, name), below


def roff(text: str) -> str:
    """Text as it must stand in a man page."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in escaped.splitlines())


def metavar(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices and not action.metavar:
        return "{" + ",".join(map(str, action.choices)) + "}"
    word = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    return " ".join(word) if isinstance(word, tuple) else str(word)


def man_of(words: tuple[str, ...], parser: argparse.ArgumentParser) -> list[str]:
    lines = [f".SS heaparena {roff(' '.join(words))}"]
    about = (parser.description or "").strip()
    lines.append(roff(about))
    for action in shown(parser):
        if action.dest == "help":
            continue
        names = ", ".join(f"\\fB{roff(name)}\\fR" for name in action.option_strings)
        value = metavar(action)
        lines.append(".TP")
        lines.append(" ".join(part for part in (names, f"\\fI{roff(value)}\\fR" if value else "") if part))
        given = {**vars(action), "prog": parser.prog}
        lines.append(roff((action.help or "") % given) or "(no further word)")
    if parser.epilog:
        lines += [".PP", ".nf", roff(parser.epilog.strip()), ".fi"]
    return lines


def man_page(parser: argparse.ArgumentParser) -> str:
    lines = [
        f'.TH HEAPARENA 1 "" "heaparena {build.version()}" "User Commands"',
        ".SH NAME",
        f"heaparena \\- {roff((parser.description or '').rstrip('.'))}",
        ".SH SYNOPSIS",
        ".B heaparena",
        "[\\fB\\-\\-version\\fR] [\\fB\\-\\-help\\fR] \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]",
        ".SH DESCRIPTION",
        ".nf",
        roff((parser.epilog or "").strip()),
        ".fi",
        ".SH COMMANDS",
    ]
    for words, one in walk(parser, ()):
        lines += man_of(words, one)
    return "\n".join(lines) + "\n" + FILES


COMPLETION = """# bash completion for heaparena {version}, written from the command's parser
_heaparena() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} word path= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    [[ $word == -- ]] && return
    [[ $word == -* ]] && continue
    case "$path $word" in
{commands}
    esac
  done
  local words= options= choices=
  case "$path" in
{words}
  esac
  case "$path:$previous" in
{choices}
  esac
  if [[ -n $choices ]]; then
    COMPREPLY=($(compgen -W "$choices" -- "$current"))
  elif [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
}}
complete -o default -F _heaparena heaparena
"""


def every(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """The parser and all below it, groups of commands included."""
    yield words, parser
    for name, below in subcommands(parser).items():
        yield from every(below, (*words, name))


def completion(parser: argparse.ArgumentParser) -> str:
    commands, words, choices = [], [], []
    for path, one in every(parser):
        name = "".join(f" {word}" for word in path)
        if path:
            commands.append(f'      "{name}") path="{name}" ;;')
        options = " ".join(option for action in shown(one) for option in action.option_strings)
        words.append(f'    "{name}") words="{" ".join(subcommands(one))}" options="{options}" ;;')
        for action in shown(one):
            if action.choices and action.option_strings:
                among = "|".join(f'"{name}:{option}"' for option in action.option_strings)
                choices.append(f'    {among}) choices="{" ".join(map(str, action.choices))}" ;;')
    return COMPLETION.format(
        version=build.version(),
        commands="\n".join(commands),
        words="\n".join(words),
        choices="\n".join(choices or ["    *) ;;"]),
    )


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: parser_pages.py DIR", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    parser = top_parser()
    (folder / "heaparena.1").write_text(man_page(parser), encoding="utf-8")
    (folder / "completion").write_text(completion(parser), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
