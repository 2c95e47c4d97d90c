"""Publish a trained folder as one commit to a repository on the Hugging Face Hub."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import CommitInfo, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx, validate_repo_id

from sct_hf.errors import InputError
from sct_hf.escaping import in_lines
from sct_hf.hub.checks import read_run
from sct_hf.hub.repository import assemble
from sct_hf.network import failure_reason


def check_name(field: str, repo_id: str) -> None:
    """Raise `InputError` unless a name is OWNER/NAME and valid on the Hub."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"{field} is {repo_id!r}: {failure_reason(error)}") from error
    if repo_id.count("/") != 1:
        raise InputError(f"{field} is {repo_id!r}: give OWNER/NAME")


@contextmanager
def prepared(
    folder: str | Path, repo_id: str, *, examples: Sequence[Path] = (), evaluation: Path | None = None
) -> Iterator[Path]:
    """Make and check the folder to publish; it is removed at the end. Nothing is sent.

    Args:
        folder: The output folder of `sct-hf train`.
        repo_id: Where it is published, "OWNER/NAME".
        examples: Images to show on the model's page.
        evaluation: See `read_run`.

    Yields:
        The folder to publish.

    Raises:
        InputError: The name, the folder or an example cannot be used.
    """
    check_name("repo", repo_id)
    run = read_run(folder, evaluation)
    with TemporaryDirectory(prefix="sct_hf-publish-") as temporary:
        target = Path(temporary) / repo_id.split("/")[1]
        target.mkdir()
        assemble(run, repo_id, target, examples=examples)
        yield target


def upload(
    target: Path,
    repo_id: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    revision: str | None = None,
    space: bool = False,
) -> CommitInfo:
    """Send a folder as one commit. A missing repository is created, except with `create_pr` or `revision`.

    Token and address of the Hub are huggingface_hub's: from `hf auth login`, or the environment variables HF_TOKEN
    and HF_ENDPOINT.

    Args:
        target: The folder from `prepared`, or from `prepared_space` for a Space.
        repo_id: "OWNER/NAME".
        private: Whether the repository is private.
        create_pr: Open a pull request instead of committing to the branch.
        revision: An existing branch; by default the main one.
        space: Whether it is a Space, not a model.

    Returns:
        The commit: its `oid`, `commit_url`, and `pr_url`.

    Raises:
        InputError: The token is missing or refused, the repository or branch does not exist or is not writable, a
            public repository is asked to be private, or the connection broke. There is then no commit, unless only
            the Hub's answer was lost.
    """
    api = HfApi(library_name="sct_hf")
    existing = create_pr or revision is not None
    kind, sdk = ("space", "gradio") if space else ("model", None)
    try:
        api.whoami()
        if not existing:
            api.create_repo(repo_id, repo_type=kind, private=private or None, exist_ok=True, space_sdk=sdk)
        info = api.repo_info(repo_id, repo_type=kind, revision=revision)
        if private and not info.private:
            raise InputError(
                f"private is asked for, but {repo_id} is public: change that on its page, or leave it out"
            )
        return api.upload_folder(
            repo_id=repo_id,
            repo_type=kind,
            folder_path=target,
            revision=revision,
            create_pr=create_pr,
            commit_message="Demo of SCT" if space else "SCT with weights, code and card",
        )
    except InputError:
        raise
    except (OSError, ValueError, httpx.HTTPError) as error:
        field = "space" if space else "repo"
        raise InputError(_reason(error, api.endpoint, field, repo_id, revision)) from error


def describe(
    target: Path,
    repo_id: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    revision: str | None = None,
    space: bool = False,
) -> str:
    """Describe what `upload` would do: the card, the files with their sizes in bytes, and the calls."""
    files = sorted(path for path in target.rglob("*") if path.is_file())
    width = len(f"{max(path.stat().st_size for path in files):,}")
    listed = [f"{path.stat().st_size:>{width},}  {path.relative_to(target).as_posix()}" for path in files]
    kind = ", repo_type='space'" if space else ""
    calls = [f"upload_folder({repo_id!r}{kind}, revision={revision!r}, create_pr={create_pr})"]
    if not create_pr and revision is None:
        calls.insert(0, f"create_repo({repo_id!r}{kind}, private={private}, exist_ok=True)")
    card = (target / "README.md").read_text(encoding="utf-8")
    return in_lines("\n".join([card, *listed, "", "would call", *(f"  {call}" for call in calls)]))


def snippet(repo_id: str, commit: str) -> str:
    """Python that loads the model at a commit."""
    return f'pipeline("image-classification", model="{repo_id}", revision="{commit}", trust_remote_code=True)'


def _reason(error: Exception, endpoint: str, field: str, repo_id: str, revision: str | None) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None
    if isinstance(error, LocalTokenNotFoundError):
        return "token is missing: run `hf auth login`, or set HF_TOKEN"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing can be sent: unset it"
    if isinstance(error, RevisionNotFoundError):
        return f"revision is {revision!r}, but {repo_id} has no such branch: make it on its page, or leave it out"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{field} is {repo_id!r}, which does not exist or is hidden from this token; without --create_pr and "
            "--revision it would be made"
        )
    if status == 401:
        return f"token: {endpoint} refuses it; run `hf auth login`, or set HF_TOKEN to one that is valid"
    if status == 403:
        return (
            f"{field} is {repo_id!r}, to which this token may not write; use a token with that right, or --create_pr"
        )
    if isinstance(error, httpx.TransportError):
        again = "publish again: a commit is complete or does not exist"
        return f"the connection to {endpoint} failed ({failure_reason(error)}); {again}"
    return f"{endpoint} did not take it ({failure_reason(error)})"
