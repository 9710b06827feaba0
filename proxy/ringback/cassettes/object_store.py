"""The client of an object store or a web server: get, put, list and delete, with errors for people.

It is obstore (docs/decisions/0012-object-stores.md), imported when the first `Bucket` is made. Credentials
come from where each store's own tools look: variables, web identity, instance metadata, and for profiles in
`~/.aws` the package boto3 where it is installed. None of them is kept here, and none is in an error's text.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ringback.cassettes.files import CassetteError
from ringback.net import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMES: Final = ("s3", "gs", "az", "https", "http")

_MOST_CAUSE: Final = 200  # characters of an error's text
_LEAST_SECRET: Final = 6  # characters of a variable's value that is taken out of texts
_SECRET_NAME: Final = re.compile(r"(?i)key|secret|token|password|sas|credential")
_QUERY: Final = re.compile(r"\?[^\s\"')>]+")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_SPACE: Final = re.compile(r"\s+")
_CLIENT: Final = {"connect_timeout": "5s", "timeout": "30s"}
_RETRY: Final = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
# A look at a web server may keep answers waiting.
_WEB_CLIENT: Final = {"connect_timeout": "3s", "timeout": "10s"}
_WEB_RETRY: Final = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_GOOGLE_EMULATOR: Final = "STORAGE_EMULATOR_HOST"  # as Google's own tools have it
_NO_KEY: Final = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
_CAUSES: Final = {
    "PermissionDeniedError": "the credentials do not allow it",
    "UnauthenticatedError": "it wants credentials, or other ones",
    "PreconditionError": "another process has changed it at the same time; try again",
    "NotSupportedError": "the store cannot do this",
}


class RemoteError(CassetteError):
    """The store cannot be used; the message names it and the cause, without a credential."""


class GoneError(Exception):
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, as a listing has it.

    Attributes:
        path: Its path below the URL.
        etag: Its ETag.
    """

    path: str
    etag: str


def is_url(text: object) -> bool:
    """Report whether a value of `--cassettes` is an address instead of a directory."""
    return isinstance(text, str) and "://" in text


def check_url(text: str) -> str:
    """Return `text`, the address of a store, without a slash at its end.

    Raises:
        ValueError: It is none, or has a credential.
    """
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("no user, password or query belongs in the URL: the store's own variables give them")
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{one}://" for one in SCHEMES[:-1])
        raise ValueError(f"{parts.scheme}:// is not known; there are {known} and directories")
    if not host:
        raise ValueError(f"write {parts.scheme}://{'HOST' if parts.scheme == 'https' else 'BUCKET'}/PATH")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("http:// is for loopback alone; use https://")
    return text.rstrip("/")


class Bucket:
    """The objects below a URL. Thread-safe.

    Args:
        url: The address, as `check_url` lets it pass.
        environ: The environment variables.

    Raises:
        RemoteError: The extra is not installed, or the store's variables are not understood.
    """

    def __init__(self, url: str, environ: Mapping[str, str] = os.environ) -> None:
        self.url = url
        self._environ = environ
        try:
            import obstore  # noqa: PLC0415 - an extra, and slow to import
            from obstore.store import from_url  # noqa: PLC0415 - as above
        except ImportError:
            raise RemoteError(f"{url} needs the extra `fleet`: pip install 'ringback[fleet]'") from None
        self._obstore: Any = obstore
        scheme = urlsplit(url).scheme
        endpoint = next((environ[name] for name in _ENDPOINTS if environ.get(name)), "")
        # Whoever gives an endpoint with http:// has said so; web addresses pass `check_url`.
        plain = scheme == "http" or (scheme == "s3" and endpoint.startswith("http://"))
        web = scheme in {"http", "https"}
        options: dict[str, Any] = {
            "client_options": {**(_WEB_CLIENT if web else _CLIENT), "allow_http": plain},
            "retry_config": _WEB_RETRY if web else _RETRY,
        }
        if scheme == "s3" and endpoint:
            options["config"] = {"endpoint": endpoint}
        emulator = environ.get(_GOOGLE_EMULATOR, "") if scheme == "gs" else ""
        if emulator:
            options["client_options"]["allow_http"] = emulator.startswith("http://")
            options["config"] = {"service_account_key": json.dumps({"gcs_base_url": emulator, **_NO_KEY})}
        profile = _profile(environ) if scheme == "s3" else None
        if profile is not None:
            options["credential_provider"] = profile
        try:
            self._store: Any = from_url(url, **options)
        except Exception as error:  # noqa: BLE001 - of many classes, as each store has its own
            raise self._error("", error) from None

    def list(self, folder: str | None = None) -> list[StoredObject]:
        """Return all objects, or those in one folder.

        Raises:
            RemoteError: The store is away, or says no.
        """
        try:
            pages = list(self._obstore.list(self._store, folder, chunk_size=1000))
        except Exception as error:  # noqa: BLE001 - see `__init__`
            raise self._error("", error) from None
        return [StoredObject(one["path"], _etag(one)) for page in pages for one in page]

    def find(self, path: str) -> StoredObject | None:
        """Return the object at `path`, without its content; None if there is none.

        Raises:
            RemoteError: The store is away, or says no.
        """
        try:
            found = self._obstore.head(self._store, path)
        except Exception as error:  # noqa: BLE001 - see `__init__`
            if isinstance(error, FileNotFoundError) or type(error).__name__ == "NotFoundError":
                return None
            raise self._error(path, error) from None
        return StoredObject(path, _etag(found))

    def get(self, path: str, etag: str | None = None) -> tuple[bytes, str] | None:
        """Return an object and its ETag; None if it still has the ETag `etag`.

        Raises:
            GoneError: There is none.
            RemoteError: The store is away, or says no.
        """
        try:
            got = self._obstore.get(self._store, path, options={"if_none_match": etag} if etag else None)
            return bytes(got.bytes()), _etag(got.meta)
        except FileNotFoundError:  # obstore's own class is one
            raise GoneError(path) from None
        except Exception as error:  # noqa: BLE001 - see `__init__`
            name = type(error).__name__
            if name == "NotModifiedError":
                return None
            if name == "NotFoundError":
                raise GoneError(path) from None
            raise self._error(path, error) from None

    def put(self, path: str, data: bytes) -> str:
        """Write an object whose name nobody else uses; it lasts when this returns its ETag.

        Raises:
            RemoteError: The store is away, or says no.
        """
        return self._put(path, data, "overwrite")

    def replace(self, path: str, data: bytes, etag: str | None) -> None:
        """Write an object that others may write too.

        Args:
            path: Its path.
            data: Its content.
            etag: The ETag that it must still have; None if there must not be any.

        Raises:
            RemoteError: Somebody else was faster, the store is away, or says no.
        """
        self._put(path, data, "create" if etag is None else {"e_tag": etag})

    def _put(self, path: str, data: bytes, mode: object) -> str:
        try:
            put = self._obstore.put(self._store, path, data, mode=mode, use_multipart=False)
        except Exception as error:  # noqa: BLE001 - see `__init__`
            raise self._error(path, error) from None
        return _quoted(put["e_tag"] or "")

    def delete(self, paths: Iterable[str]) -> None:
        """Remove objects; those that are gone do not count.

        Raises:
            RemoteError: The store is away, or says no.
        """
        wanted = list(paths)
        try:
            if wanted:
                self._obstore.delete(self._store, wanted)
        except Exception as error:  # noqa: BLE001 - see `__init__`
            if not (isinstance(error, FileNotFoundError) or type(error).__name__ == "NotFoundError"):
                raise self._error("", error) from None

    def _error(self, path: str, error: Exception) -> RemoteError:
        where = f"{self.url}/{path}" if path else self.url
        name = type(error).__name__
        cause = _CAUSES.get(name)
        if name == "AlreadyExistsError":
            cause = _CAUSES["PreconditionError"]
        if isinstance(error, FileNotFoundError) or name == "NotFoundError":
            cause = "there is no such bucket or path"
        return RemoteError(f"{where}: {cause or self._clean(str(error))}")

    def _clean(self, text: str) -> str:
        """Shorten an error's text and take out queries, which may be signed, and values of variables."""
        text = _SPACE.sub(" ", text.partition("Debug source:")[0]).strip()
        status = _STATUS.search(text)
        if status:
            return f"the server answered {status[1]}"
        if "error sending request" in text:
            return "no connection, or no answer in time"
        text = _QUERY.sub("?...", text)
        for name, value in self._environ.items():
            if len(value) >= _LEAST_SECRET and _SECRET_NAME.search(name):
                text = text.replace(value, "[hidden]")
        return text if len(text) <= _MOST_CAUSE else text[: _MOST_CAUSE - 3] + "..."


def _etag(meta: Mapping[str, Any]) -> str:
    """Return an object's ETag in quotes, or what stands for it where a server gives none."""
    return _quoted(meta["e_tag"] or "") or f"{meta['size']}-{meta['last_modified'].timestamp()}"


def _quoted(etag: str) -> str:
    """Return an ETag in quotes: Azure's listings leave them out."""
    return f'"{etag}"' if etag and not etag.endswith('"') else etag


def _profile(environ: Mapping[str, str]) -> object | None:
    """Return boto3's way to credentials, if there is a profile and nothing that obstore reads itself."""
    own = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    if any(environ.get(name) for name in (*own, "AWS_CONTAINER_CREDENTIALS_FULL_URI")):
        return None
    shared = environ.get("AWS_SHARED_CREDENTIALS_FILE")
    file = Path(shared) if shared else Path(environ.get("HOME", "/")) / ".aws" / "credentials"
    if not environ.get("AWS_PROFILE") and not file.is_file():
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - boto3 need not be there
    except ImportError:
        return None
    made: object = Boto3CredentialProvider()
    return made
