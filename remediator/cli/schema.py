"""`remediator schema`: JSON Schema of rule files, of their tests and of the config, for editors."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "schema",
        help="JSON Schema of rule files, tests and config, for editors",
        description="Print the JSON Schema of rule files, of test files or of the config. Editors that use yaml-language-server take it"
        " from a first line such as: # yaml-language-server: $schema=remediator-rules.schema.json",
    )
    parser.add_argument("file", choices=("rules", "tests", "config"), help="of which file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    print(schema_text(args.file), end="")
    return 0


def schema_text(file: str) -> str:
    """The schema of one kind of file (rules, tests or config), as JSON text."""
    from remediator.config.schema import json_schema
    from remediator.config.settings import Config
    from remediator.rules.fields import RuleFileDoc
    from remediator.simulation.ruletest.fields import RuleTestsDoc

    documents = {
        "rules": (RuleFileDoc, "remediator rule file"),
        "tests": (RuleTestsDoc, "remediator test file"),
        "config": (Config, "remediator config"),
    }
    cls, title = documents[file]
    return json.dumps(json_schema(cls, title), indent=2, ensure_ascii=False) + "\n"
