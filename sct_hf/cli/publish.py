"""Publish a trained model on the Hugging Face Hub."""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from huggingface_hub.utils import enable_progress_bars
from transformers.utils import logging

from sct_hf.cli._parser import CommandParser
from sct_hf.hub.publish import describe, prepared, snippet, upload
from sct_hf.hub.space import pin, prepared_space

EXTRAS = {"": "train"}


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf publish",
        description="Publish a trained SCT model on the Hugging Face Hub: weights, code and model card as one commit.",
        epilog="A README.md in FOLDER adds to the card: its text as notes, its metadata (license, datasets, ...) over "
        "ours. Token: `hf auth login` or HF_TOKEN. Exit code: 0, or 2 if something was not published.",
    )
    made.add_argument("folder", type=Path, help="Output folder of training.")
    made.add_argument("repo", help="OWNER/NAME on the Hub; created if it does not exist.")
    made.add_argument("--dry_run", action="store_true", help="Check, print card and files, and send nothing.")
    made.add_argument("--private", action="store_true", help="Make the repository private.")
    made.add_argument("--create_pr", action="store_true", help="Open a pull request to an existing repository.")
    made.add_argument("--revision", metavar="BRANCH", help="Commit to this branch of an existing repository.")
    made.add_argument(
        "--examples", nargs="+", type=Path, default=[], metavar="IMAGE", help="Images to show on the model's page."
    )
    made.add_argument(
        "--evaluation",
        type=Path,
        metavar="FOLDER",
        help="Output of evaluate --localisation true on the folder, to show on the model's page.",
    )
    made.add_argument("--space", metavar="OWNER/NAME", help="Also publish a demo of the model, as this Space.")
    return made


def main(argv: Sequence[str]) -> int:
    """Publish what the command line names, and return the exit code 0.

    Raises:
        InputError: Something was not published.
    """
    arguments = parser().parse_args(argv)
    if arguments.space and arguments.create_pr:
        parser().error(
            "--space needs a commit and cannot be combined with --create_pr: publish the Space after the merge"
        )
    logging.disable_progress_bar()
    where = {name: getattr(arguments, name) for name in ("private", "create_pr", "revision")}
    given = {name: getattr(arguments, name) for name in ("examples", "evaluation")}
    with prepared(arguments.folder, arguments.repo, **given) as target:
        demo = prepared_space(target, arguments.repo, arguments.space) if arguments.space else nullcontext()
        with demo as space:
            if arguments.dry_run:
                print(describe(target, arguments.repo, **where))
                if space:
                    print("\n" + describe(space, arguments.space, private=arguments.private, space=True))
                return 0
            enable_progress_bars()  # of the upload; transformers turned off those of the Hub too
            commit = upload(target, arguments.repo, **where)
            print(f"{commit.pr_url or commit.commit_url}\n\n{snippet(arguments.repo, commit.oid)}")
            if space:
                pin(space, arguments.repo, commit.oid)
                print(f"\n{upload(space, arguments.space, private=arguments.private, space=True).repo_url}")
    return 0
