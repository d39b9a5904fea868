"""`remediator rules`: the rule files that come with the package, and what overrides change of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "rules",
        help="the rule files that come with the package, and what is changed of them",
        description="Rule files that come with the package are extended by name: `extends: remediator/kubernetes`.",
    )
    parser.set_defaults(run=_list)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    listed = verbs.add_parser("list", help="their names, and what each is for")
    listed.set_defaults(run=_list)
    shown = verbs.add_parser("show", help="the text of one")
    shown.add_argument("name", metavar="NAME", help="its name, such as kubernetes")
    shown.set_defaults(run=_show)
    differences = verbs.add_parser(
        "diff",
        help="what rule files change of one, or what an upgrade has changed",
        description="Print each value of a shipped file that the overrides of rule files change. With --since, print what"
        " has changed in the file since a copy was kept of it (remediator rules show NAME > COPY), and which of these"
        " changes an override hides.",
    )
    differences.add_argument("name", metavar="NAME", help="its name, such as kubernetes")
    differences.add_argument(
        "--rules", nargs="+", default=[], metavar="FILE", help="rule files (default: those of the config)"
    )
    differences.add_argument("--since", metavar="COPY", help="a copy of the shipped file from before the upgrade")
    differences.add_argument(
        "--config.file", dest="config_file", metavar="FILE", help="the config (default remediator.yml)"
    )
    differences.set_defaults(run=_diff)


def _list(args: argparse.Namespace) -> int:
    from remediator.cli.client import show_table
    from remediator.rules.library import PREFIX, shipped_names, shipped_text

    rows = [(f"{PREFIX}{name}", _title(shipped_text(name))) for name in shipped_names()]
    show_table(("name", "for"), rows, "There are none.")
    return 0


def _title(text: str) -> str:
    """The first sentence of a file's comment."""
    lines = [line.removeprefix("#").strip() for line in text.splitlines()[:5] if line.startswith("#")]
    return " ".join(lines).partition(". ")[0].partition(": ")[0].rstrip(".")


def _show(args: argparse.Namespace) -> int:
    from remediator.rules.library import shipped_text

    print(shipped_text(_name(args.name)), end="")
    return 0


def _name(text: str) -> str:
    from remediator.config.document import nearest
    from remediator.errors import RemediatorError
    from remediator.rules.library import PREFIX, shipped_names

    name = text.removeprefix(PREFIX).removesuffix(".yml")
    if name not in shipped_names():
        raise RemediatorError(f"there is no rule file {text} in the package: {nearest(name, shipped_names())}")
    return name


def _diff(args: argparse.Namespace) -> int:
    from remediator.config.document import Document, open_document
    from remediator.errors import RemediatorError
    from remediator.rules.differences import changes_between, overridden_values
    from remediator.rules.library import open_shipped

    shipped = open_shipped(_name(args.name))
    files = [open_document(Path(file)) for file in _files(args)]
    changed = overridden_values(shipped, files)
    if args.since is None:
        for one in changed:
            print(f"{one.where}: {one.path}: {one.before} -> {one.after}")
        if not changed:
            print("nothing is changed of it")
        return 0
    copy: Document = open_document(Path(args.since))
    if copy.problems:
        raise RemediatorError(copy.problems[0].message)
    hidden = {one.path: one.where for one in changed}
    found = changes_between(copy, shipped)
    for path, before, after in found:
        note = f"  (overridden at {hidden[path]})" if path in hidden else ""
        print(f"{path}: {before} -> {after}{note}")
    if not found:
        print("nothing has changed in it")
    return 0


def _files(args: argparse.Namespace) -> list[str]:
    from remediator.config.settings import load_config

    if args.rules:
        return list(args.rules)
    path = Path(args.config_file or "remediator.yml")
    if args.config_file is None and not path.exists():
        return []
    return [str(file) for file in load_config(path).rule_paths()]
