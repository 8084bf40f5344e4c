"""Whatever a Hugging Face Hub may answer, as one plain error: what came, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mots_pretrained.errors import UserError


@contextmanager
def plain_hub_errors(
    repository: str, revision: str | None, *, writing: bool = False
) -> Iterator[None]:
    """Turn huggingface_hub's errors, and those of its transport, into ours.

    Args:
        repository: ``"org/name"``.
        revision: As asked for, if at all.
        writing: Whether the block writes to the repository.

    Raises:
        ValueError: If the name is none, the token does not let in, or there is no such revision.
        ConnectionError: If the Hub is not reached, breaks off, or fails.
    """
    from huggingface_hub import errors

    transport: Any = errors.HfHubHTTPError.__mro__[1]  # HTTPError of httpx or httpx2, as installed
    at = f"{repository}@{revision}" if revision else repository
    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(f"{repository!r} is no name of a Hub repository: {error}") from error
    except errors.GatedRepoError as error:
        raise UserError(
            f"{at} is gated: ask for access on its page, then pass token=... or log in with "
            "`hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"{repository} has no revision {revision!r}; leave it out for main"
        ) from error
    except errors.RepositoryNotFoundError as error:
        if writing:
            raise UserError(_no_writing(repository, 401)) from error
        raise UserError(
            f"the Hub has no repository {repository} that this token may read; check the name, or "
            "pass token=... if it is private"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise ConnectionError(
            f"{at} was not downloaded before and the Hub is not to be reached; load it once with "
            "a connection, or give a folder"
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if writing and status in (401, 403, 404):
            raise UserError(_no_writing(repository, status)) from error
        raise ConnectionError(
            f"the Hub failed {'to take' if writing else 'to send'} {at} (status {status}); "
            "try again later"
        ) from error
    except transport as error:
        raise ConnectionError(f"the Hub broke off with {at} ({_told(error)}); try again") from error
    except OSError as error:
        if error.errno is not None:
            raise  # a full disk, a cache that may not be written: it names the file itself
        raise ConnectionError(
            f"{at} did not come whole ({_told(error)}); try again, what came is kept"
        ) from error


def _no_writing(repository: str, status: int) -> str:
    return (
        f"the Hub refused to write to {repository} (status {status}); pass token=... with write "
        "access, or log in with `hf auth login`"
    )


def _told(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
