"""The feed of a Vitrine service as a consumer reads it: pages of records, asked for again where that may help.

Standard library only.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from .patience import Backoff, Stop

#: The schema of `data` that is known here; another one means something else.
SCHEMA = "urn:vitrine:feed:v1"
CONNECT_S, ANSWER_S = 10.0, 30.0
#: Problems after which a copy has to begin anew.
ANEW = ("before-log", "beyond-log", "invalid-cursor")

Record = dict[str, Any]


class FeedError(Exception):
    """The feed cannot be read, and asking again would not help."""


class BeginAnew(Exception):
    """What is here cannot be continued: read a snapshot."""


@dataclass(frozen=True)
class Page:
    """Records, and where to go on."""

    records: list[Record]
    source: str
    after: int
    #: Of a snapshot: where its next page starts; none on the last.
    cursor: str | None


def kind(record: Record) -> str:
    """The record's kind; empty for one that is not known to be of the form `vitrine.<kind>.v1`."""
    parts = str(record["type"]).split(".")
    return parts[1] if len(parts) == 3 and parts[0] == "vitrine" else ""


def check_schema(record: Record) -> None:
    """Refuses a record of a known kind whose fields may mean something else: to pass it would lose a change."""
    if record["dataschema"] != SCHEMA or not str(record["type"]).endswith(".v1"):
        what = f"{record['type']} with schema {record['dataschema']}"
        raise FeedError(f"record {record['seq']} is {what}; this consumer knows v1 with {SCHEMA}: it needs an update")


class Feed:
    """One service, over one connection that is kept."""

    def __init__(self, url: str, key: str | None, stop: Stop, give_up_after_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FeedError(f"--feed: expected http://HOST:PORT or https://HOST, got {url!r}")
        kind_of = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = kind_of(parts.hostname, parts.port, timeout=CONNECT_S)
        self.url, self.prefix = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.rstrip("/")
        self.headers = {"accept": "application/x-ndjson", "user-agent": "vitrine-postgres-consumer"}
        if key:
            self.headers["authorization"] = f"Bearer {key}"
        self.stop, self.backoff = stop, Backoff(stop, give_up_after_s)

    def changes(self, after: int, limit: int, wait_s: int) -> Page:
        """Records after `after`: as soon as there is one, or none when the wait is over."""
        page = self._page("/v1/feed", {"after": after, "limit": limit, "wait_s": wait_s}, wait_s)
        numbers = [after, *(record["seq"] for record in page.records)]
        if any(a >= b for a, b in itertools.pairwise(numbers)) or page.after < numbers[-1]:
            raise FeedError(f"{self.url}: records after {after} are out of order: is there a cache in between?")
        return page

    def snapshot(self, cursor: str | None, limit: int) -> Page:
        """Products as they are; without a cursor a snapshot begins."""
        return self._page("/v1/feed/snapshot", {"limit": limit, **({"cursor": cursor} if cursor else {})}, 0)

    def _page(self, path: str, query: dict[str, str | int], wait_s: int) -> Page:
        while True:
            try:
                with self.stop.interruptible(), self._closed_on_failure():
                    response, body = self._get(f"{self.prefix}{path}?{urlencode(query)}", wait_s)
            except (OSError, http.client.HTTPException) as error:
                self.backoff.wait(f"{self.url}: {error or type(error).__name__}")
                continue
            if response.status == 200:
                page = self._read(response, body)
                self.backoff.worked()
                return page
            slug, said = problem(body)
            why = f"{self.url}{self.prefix}{path} answered {response.status}: {said or response.reason}"
            if response.status == 429 or response.status >= 500:
                self.backoff.wait(why, retry_after_s(response.headers.get("retry-after")))
                continue
            raise BeginAnew(f"{slug}: {said}") if slug in ANEW else FeedError(why)

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        # An answer that was not read to its end would be taken for that of the next request.
        try:
            yield
        except BaseException:
            self.connection.close()
            raise

    def _get(self, target: str, wait_s: int) -> tuple[http.client.HTTPResponse, bytes]:
        if self.connection.sock is None:
            self.connection.connect()
        self.connection.sock.settimeout(wait_s + ANSWER_S)
        self.connection.request("GET", target, headers=self.headers)
        response = self.connection.getresponse()
        return response, response.read()

    def _read(self, response: http.client.HTTPResponse, body: bytes) -> Page:
        try:
            # Not str.splitlines: that breaks at characters which ids and titles may have.
            records = [json.loads(line) for line in body.split(b"\n") if line]
            after, source = int(response.headers["feed-next-after"]), response.headers["feed-source"]
            if not source or any(record["source"] != source for record in records):
                raise ValueError("records are not of Feed-Source")
            return Page(records, source, after, response.headers.get("feed-next-cursor"))
        except (ValueError, TypeError, KeyError) as error:
            raise FeedError(f"{self.url}: the answer is not a page of a feed ({error})") from error


def problem(body: bytes) -> tuple[str, str]:
    """Last segment of a problem's type (RFC 9457) and its detail; empty where the body is none."""
    try:
        told = json.loads(body)
        return str(told["type"]).rpartition("/")[2], str(told.get("detail") or told.get("title") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""


def retry_after_s(value: str | None) -> float:
    """Seconds that `Retry-After` asks for, as a number or a date; 0 without one that can be read."""
    if value is None:
        return 0.0
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
