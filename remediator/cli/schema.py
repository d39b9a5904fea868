"""`remediator schema`: JSON Schema of rule files and of the config, for editors."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "schema",
        help="JSON Schema of rule files and config, for editors",
        description="Print the JSON Schema of rule files or of the config. Editors that use yaml-language-server take it"
        " from a first line such as: # yaml-language-server: $schema=remediator-rules.schema.json",
    )
    parser.add_argument("file", choices=("rules", "config"), help="of which file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from remediator.config import Config
    from remediator.ruledoc import RuleFileDoc
    from remediator.shape import json_schema

    cls, title = (RuleFileDoc, "remediator rule file") if args.file == "rules" else (Config, "remediator config")
    print(json.dumps(json_schema(cls, title), indent=2, ensure_ascii=False))
    return 0
