"""Pictures in a bucket that speaks S3. Imported only where one is set: boto3 is no small thing to load."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from models.base import now
from services.errors import NotFound
from services.media_stores import FILE, away

PREFIX = "media/"
BUCKET_SECONDS = 5


class Bucket:
    """Objects of a bucket. Keys come from where boto3 looks for them (environment, instance role); none are ours."""

    def __init__(self, bucket: str, region: str, endpoint: str) -> None:
        self.bucket = bucket
        self.client: Any = boto3.session.Session().client(
            "s3",
            region_name=region or None,
            endpoint_url=endpoint or None,
            config=Config(
                connect_timeout=BUCKET_SECONDS,
                read_timeout=BUCKET_SECONDS,
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path"} if endpoint else {},
            ),
        )

    @property
    def place(self) -> str:
        """Its name."""
        return f"the bucket {self.bucket}"

    def save(self, name: str, content: bytes) -> None:
        """Put the object."""
        self._call("put_object", Key=PREFIX + name, Body=content, ContentType="image/webp")

    def read(self, name: str) -> bytes:
        """Get the object."""
        try:
            return bytes(self._call("get_object", Key=PREFIX + name)["Body"].read())
        except (BotoCoreError, OSError) as error:  # cut off while reading
            raise away("read", error) from error

    def remove(self, name: str) -> None:
        """Delete the object; S3 does not mind one that is gone."""
        self._call("delete_object", Key=PREFIX + name)

    def older_than(self, age: timedelta) -> Iterator[str]:
        """By when they were put."""
        limit: datetime = (now() - age).astimezone(UTC)
        more: dict[str, str] = {}
        while True:
            listed = self._call("list_objects_v2", Prefix=PREFIX, **more)
            for row in listed.get("Contents", ()):
                name = str(row["Key"]).removeprefix(PREFIX)
                if FILE.fullmatch(name) and row["LastModified"] < limit:
                    yield name
            if not listed.get("IsTruncated"):
                return
            more = {"ContinuationToken": listed["NextContinuationToken"]}

    def _call(self, verb: str, **given: Any) -> Any:
        try:
            return getattr(self.client, verb)(Bucket=self.bucket, **given)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                raise NotFound from None
            raise away(verb, error) from error
        except BotoCoreError as error:
            raise away(verb, error) from error
