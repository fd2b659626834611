"""Pictures in a bucket that speaks S3. Imported only where one is set: boto3 is no small thing to load.

A bucket may hang, drip, redirect, or be a proxy that answers in its place: every call ends in time, and counts only if
its answer is one of S3.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import boto3
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.config import Config
from botocore.exceptions import ClientError

from models.base import now
from services.errors import NotFound, Unavailable
from services.media_stores import FILE, away
from services.media_stores.calls import Calls

Result = TypeVar("Result")

PREFIX = "media/"
#: Each try; all of a call's together have `calls.SECONDS`.
CONNECT_SECONDS, READ_SECONDS = 2, 4
NO_CONTENT = 204
#: Our largest have some 60 kB.
MOST_BYTES = 1024 * 1024
MOST_PAGES = 10_000


class Strange(Exception):
    """An answer that is not one of S3, or not of this bucket."""


class Bucket:
    """Objects of a bucket. Keys come from where boto3 looks for them (environment, instance role); none are ours."""

    def __init__(self, bucket: str, region: str, endpoint: str) -> None:
        self.bucket = bucket
        self.calls = Calls()
        self.client: Any = boto3.session.Session().client(
            "s3",
            region_name=region or None,
            endpoint_url=endpoint or None,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path"} if endpoint else {},
            ),
        )
        _watch(self.client, self.calls)

    @property
    def place(self) -> str:
        """Its name."""
        return f"the bucket {self.bucket}"

    def save(self, name: str, content: bytes) -> None:
        """Put the object, and read it again: anybody can say that it was kept."""
        self._call("save", lambda: self._put(name, content))
        if self.read(name) != content:
            raise away("save", Strange("what was read is not what was put"))

    def read(self, name: str) -> bytes:
        """Get the object."""
        return self._call("read", lambda: self._get(name))

    def remove(self, name: str) -> None:
        """Delete the object; S3 does not mind one that is gone."""
        self._call("remove", lambda: self._delete(name))

    def older_than(self, age: timedelta) -> Iterator[str]:
        """By when they were put."""
        limit: datetime = (now() - age).astimezone(UTC)
        more: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            listed = self._call("list", partial(self._list, **more))
            for row in listed.get("Contents", ()):
                name = str(row["Key"]).removeprefix(PREFIX)
                if FILE.fullmatch(name) and row["LastModified"] < limit:
                    yield name
            if not listed.get("IsTruncated"):
                return
            more = {"ContinuationToken": listed["NextContinuationToken"]}

    def _put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=PREFIX + name, Body=content, ContentType="image/webp")

    def _get(self, name: str) -> bytes:
        body = self.client.get_object(Bucket=self.bucket, Key=PREFIX + name)["Body"]
        with body:
            content = bytes(body.read(MOST_BYTES + 1))
        if len(content) > MOST_BYTES:
            raise Strange("a file larger than ours")
        return content

    def _delete(self, name: str) -> None:
        answer = self.client.delete_object(Bucket=self.bucket, Key=PREFIX + name)
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        if status != NO_CONTENT:  # as S3 answers, whether there was one or not
            raise Strange(f"status {status}")

    def _list(self, **more: str) -> Any:
        listed = self.client.list_objects_v2(Bucket=self.bucket, Prefix=PREFIX, **more)
        if listed.get("Name") != self.bucket:
            raise Strange("a list of something else")
        return listed

    def _call(self, verb: str, act: Callable[[], Result]) -> Result:
        try:
            return self.calls.run(lambda: _told(verb, act))
        except TimeoutError as error:
            raise away(verb, error) from None


def _told(verb: str, act: Callable[[], Result]) -> Result:
    """What `act` returns. Every failure is Unavailable, but NotFound for an object that is not there."""
    try:
        return act()
    except (NotFound, Unavailable):
        raise
    except Exception as error:  # botocore stumbles over whatever somebody else answers
        if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") == "NoSuchKey":
            raise NotFound from None
        raise away(verb, error) from error


def _watch(client: Any, calls: Calls) -> None:
    """Have each call know its connections, so that it can be cut off: time-outs of sockets count from byte to byte."""

    class Watched:
        def connect(self) -> None:
            calls.current.use(self)  # type: ignore[arg-type]  # mixed into connections
            super().connect()  # type: ignore[misc]

        def request(self, *args: Any, **kwargs: Any) -> Any:
            calls.current.use(self)  # type: ignore[arg-type]
            return super().request(*args, **kwargs)  # type: ignore[misc]

    class Http(AWSHTTPConnectionPool):  # type: ignore[misc]  # botocore has no types
        ConnectionCls = type("WatchedHttp", (Watched, AWSHTTPConnection), {})

    class Https(AWSHTTPSConnectionPool):  # type: ignore[misc]
        ConnectionCls = type("WatchedHttps", (Watched, AWSHTTPSConnection), {})

    # botocore gives no other way; its proxies' managers take the same dictionary.
    client._endpoint.http_session._pool_classes_by_scheme.update(http=Http, https=Https)
