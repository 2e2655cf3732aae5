"""Tables that are kept by the feed are the catalog: real Postgres, real service, a consumer that is killed again and again."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

psycopg = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'psycopg[binary]'")

from scripts.consumers.feed import FeedError, Page  # noqa: E402
from scripts.consumers.patience import Stop  # noqa: E402
from scripts.consumers.tables import Tables, Taken  # noqa: E402
from scripts.tests.service import PATIENCE_S, REPOSITORY, Copy, Service, until  # noqa: E402

KILLS, PRODUCTS = 50, 400
RUNNING: list["subprocess.Popen[bytes]"] = []


def postgres_program(name: str) -> str:
    """Of PATH, or of the newest version that is installed; skips where there is none."""
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[4]))
    found = shutil.which(name) or (str(packaged[-1]) if packaged else None)
    if found is None:
        pytest.skip(f"no {name}: apt-get install postgresql")
    return found


class Cluster:
    """A Postgres of its own, on a socket in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.databases = folder, 0
        self.as_user: list[str] = []
        initdb, self.pg_ctl = postgres_program("initdb"), postgres_program("pg_ctl")
        if os.geteuid() == 0:
            # The server refuses to run as root.
            try:
                shutil.chown(folder, "postgres")
            except LookupError:
                pytest.skip("root needs a user postgres: apt-get install postgresql")
            self.as_user = ["runuser", "-u", "postgres", "--"]
        # The consumer is killed, not the machine.
        self._run(initdb, "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "UTF8")
        self.start()

    def _run(self, *command: str) -> None:
        subprocess.run([*self.as_user, *command], cwd=self.folder, check=True, timeout=60, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off -c max_connections=20"
        log = str(self.folder / "log")
        self._run(self.pg_ctl, "-D", str(self.folder / "data"), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._run(self.pg_ctl, "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def new_database(self) -> str:
        self.databases += 1
        name = f"catalog{self.databases}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        self.last_url = self.url(name)
        return self.last_url

    def url(self, name: str) -> str:
        return f"postgresql:///{name}?host={quote(str(self.folder), safe='')}&user=postgres"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Not below tmp_path, which other users cannot enter; short, since a socket's path may not be long.
    with tempfile.TemporaryDirectory(prefix="vitrine-pg-", ignore_cleanup_errors=True) as folder:
        started = Cluster(Path(folder))
        yield started
        started.stop()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    while RUNNING:
        RUNNING[-1].kill()
        RUNNING.pop().wait()


class Consumer:
    """The program, in a process of its own."""

    def __init__(self, service: Service, database: str, *options: str) -> None:
        command = [sys.executable, "-m", "scripts.consumers.postgres", "--feed", service.url, "--database", database, *options]
        self.log, path = tempfile.mkstemp()
        os.unlink(path)
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=self.log, stderr=subprocess.STDOUT)
        RUNNING.append(self.process)

    def said(self) -> str:
        # Not through the file's own position, which the process writes at.
        return os.pread(self.log, 1 << 24, 0).decode()

    def until_said(self, text: str) -> None:
        until(f"{text!r} of {self.said()!r}", lambda: text in self.said() or self.process.poll() is not None)
        assert text in self.said(), self.said()

    def ends(self, code: int = 0) -> str:
        assert self.process.wait(PATIENCE_S) == code, self.said()
        return self.said()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def once(service: Service, database: str, *options: str) -> str:
    """Brings tables in step; what the consumer said."""
    return Consumer(service, database, "--once", *options).ends()


def tables(database: str) -> Copy:
    """What the tables say."""
    with psycopg.connect(database) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        query = "SELECT product_id, metadata, attributes, corrections, seq FROM vitrine.products"
        copy: Copy = {p: (*parts, []) for p, *parts in connection.execute(query)}
        for product, image, analysis in connection.execute(
            "SELECT product_id, image_id, analysis FROM vitrine.images ORDER BY product_id, ordinal"
        ):
            assert analysis["image_id"] == image
            copy[product][4].append(analysis)
    return copy


def assert_same(service: Service, database: str) -> Copy:
    """The tables are what the service says, product by product and image by image."""
    expected, kept = service.snapshot(), tables(database)
    assert kept.keys() == expected.keys()
    for product, parts in expected.items():
        assert kept[product] == parts, product
    return kept


def cursor(database: str) -> tuple[Any, ...]:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT source, after, generation, snapshotting FROM vitrine.feed_cursor").fetchone()
        assert row is not None
        return row


def photos(count: int) -> list[bytes]:
    return [path.read_bytes() for path in sorted((REPOSITORY / "testdata" / "photos").glob("*.jpg"))[:count]]


class Writer(threading.Thread):
    """Changes the catalog all the time: products and images come, change, are corrected, go and come again."""

    def __init__(self, service: Service, products: int, seed: int) -> None:
        super().__init__()
        self.service, self.products, self.random = service, products, random.Random(seed)
        self.photos, self.over, self.writes = photos(6), threading.Event(), 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.write()
        except Exception as failure:
            self.failure = failure

    def write(self) -> None:
        product = f"/v1/products/p{self.random.randrange(self.products)}"
        what, n = self.random.random(), self.random.randrange(1000)
        if what < 0.03:
            answer = self.service.call("PUT", f"{product}/images/{n % 4}", self.random.choice(self.photos))
        elif what < 0.04:
            answer = self.service.call("DELETE", f"{product}/images/{n % 4}")
        elif what < 0.15:
            answer = self.service.call("DELETE", product)
        elif what < 0.35:
            answer = self.service.call("PATCH", f"{product}/attributes", {"pattern": ["striped", "dotted", None][n % 3]})
        else:
            # A line separator, which is no end of a line of JSON.
            metadata = {"title": f"Mäntel {n} \u2028 \U0001f9e5", "price": n + 0.1, "tags": ["new"] * (n % 3)}
            answer = self.service.call("PUT", product, metadata)
        # Some name a product or an image that is gone: no change.
        assert answer[0] in (200, 201, 204, 404), answer
        self.writes += answer[0] != 404

    def end(self) -> int:
        """How many writes there were."""
        self.over.set()
        self.join(PATIENCE_S)
        if self.failure:
            raise self.failure
        return self.writes


HAS_LOCK = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory')"


def frozen(consumer: Consumer, watch: Any) -> tuple[bool, bool]:
    """Freezes the consumer; whether it is within a transaction, and within a snapshot."""
    consumer.process.send_signal(signal.SIGSTOP)
    query = """SELECT coalesce(wait_event, '') = 'ClientRead', xact_start IS NOT NULL
               FROM pg_stat_activity WHERE application_name = 'vitrine-consumer'"""
    states: list[tuple[bool, bool]] = []

    def settled() -> bool:
        states[:] = watch.execute(query).fetchall()
        return all(waits for waits, _ in states)

    until("its server process to wait for it", settled)
    row = watch.execute("SELECT snapshotting FROM vitrine.feed_cursor").fetchone()
    return any(within for _, within in states), bool(row and row[0])


def models_that_are(service: Service, what: str) -> list[str]:
    """Versions that are `live`, or `activating`."""
    return [m["version"] for m in json.loads(service.call("GET", "/v1/models")[2])["items"] if m[what]]


def test_killed_again_and_again_it_has_the_catalog(service: Service, cluster: Cluster) -> None:
    database, moments, started = cluster.new_database(), random.Random(50), time.monotonic()
    for n in range(PRODUCTS):
        service.put(f"p{n}", title=f"Product {n}")
    once(service, database)
    first = models_that_are(service, "live")
    in_transaction = in_snapshot = snapshots = writes = images = 0
    with psycopg.connect(database, autocommit=True) as watch:
        for kill in range(KILLS):
            turn = kill % 10
            if turn == 0:
                writers = [Writer(service, PRODUCTS, 3 * kill + n) for n in range(3)]
                for writer in writers:
                    writer.start()
            # Records that are lost must not be hidden by a snapshot: there are rounds without one.
            if kill in (10, 40):
                other = "other" if models_that_are(service, "live") == first else first[0]
                assert service.call("POST", f"/v1/models/{other}/activate")[0] == 202
            if kill in range(20, 28, 2):
                # Beyond the log, as when the store was put back from an older copy.
                watch.execute("UPDATE vitrine.feed_cursor SET after = after + 1000000000 WHERE NOT snapshotting")
            # Small pages: many moments between them, and snapshots that take a while.
            consumer = Consumer(service, database, "--limit", "40", "--products", "1")
            if moments.random() < 0.8:
                until("the lock", lambda: watch.execute(HAS_LOCK).fetchone() == (True,))
            time.sleep(moments.uniform(0, 0.3))
            assert consumer.process.poll() is None, consumer.said()
            within, snapshotting = frozen(consumer, watch)
            in_transaction, in_snapshot = in_transaction + within, in_snapshot + snapshotting
            consumer.end()
            snapshots += consumer.said().count("is stored")
            if turn == 9:
                until("the model", lambda: not models_that_are(service, "activating"))
                for writer in writers:
                    writes += writer.end()
                said = once(service, database)
                snapshots += said.count("is stored")
                kept = assert_same(service, database)
                images = sum(len(parts[4]) for parts in kept.values())
                assert cursor(database)[1] == service.last() and not cursor(database)[3], said
                shown = {image["model_version"] for parts in kept.values() for image in parts[4]}
                assert shown == set(models_that_are(service, "live"))
    print(
        f"{KILLS} kills, {in_transaction} in a transaction, {in_snapshot} in a snapshot; {snapshots} snapshots; {writes} writes,"
        f" {service.last()} records; the same {KILLS // 10} times, at the end {len(kept)} products and {images} images;"
        f" {time.monotonic() - started:.0f} s"
    )
    assert in_transaction and in_snapshot
    assert service.call("GET", "/v1/feed?kind=model_activated")[2].count(b"\n") == 2


def test_another_catalog_on_the_same_address_leaves_no_ghosts(service: Service, cluster: Cluster, tmp_path: Path) -> None:
    database = cluster.new_database()
    for n in range(30):
        service.put(f"p{n}", title="old", tags=[str(n)])
    assert service.call("PUT", "/v1/products/p1/images/front", photos(1)[0])[0] in (200, 201)
    consumer = Consumer(service, database, "--products", "4", "--wait-s", "5")
    consumer.until_said("is stored")
    # It waits for the service to come back, and finds a log that ends before where it is.
    service.stop()
    service.data = tmp_path / "other"
    service.start()
    for n in range(20, 40):
        service.put(f"p{n}", title="new")
    consumer.until_said("beyond-log")
    until("the other catalog", lambda: cursor(database)[1:] == (service.last(), 2, False))
    consumer.process.terminate()
    assert consumer.ends().endswith("stopped\n")
    assert len(assert_same(service, database)) == 20
    # One whose log goes on beyond it: only the source tells.
    service.stop()
    service.data = tmp_path / "third"
    service.start()
    for n in range(60):
        service.put(f"p{n % 25 + 15}", title=f"newest {n}")
    source = cursor(database)[0]
    assert f"the tables are of {source}" in once(service, database)
    assert len(assert_same(service, database)) == 25


def test_a_snapshot_that_another_catalog_broke_off_begins_anew(service: Service, cluster: Cluster, tmp_path: Path) -> None:
    database = cluster.new_database()
    for n in range(10):
        service.put(f"p{n}", title="old")
    once(service, database)
    page = service.call("GET", "/v1/feed/snapshot?limit=3")[1]
    with psycopg.connect(database) as connection:
        query = "UPDATE vitrine.feed_cursor SET snapshotting = true, generation = generation + 1, snapshot_cursor = %s"
        connection.execute(query, (page["feed-next-cursor"],))
    service.stop()
    service.data = tmp_path / "other"
    service.start()
    service.put("p5", title="new")
    assert "invalid-cursor" in once(service, database)
    assert list(assert_same(service, database)) == ["p5"]


def test_who_is_behind_the_log_begins_anew_without_ghosts(service: Service, cluster: Cluster) -> None:
    database = cluster.new_database()
    for n in range(20):
        service.put(f"p{n}", title="old")
    once(service, database)
    for n in range(10):
        assert service.call("DELETE", f"/v1/products/p{n}")[0] == 204
    service.put("p5", title="again")
    service.stop()
    # As after two days.
    with contextlib.closing(sqlite3.connect(service.data / "catalog.sqlite3")) as store, store:
        store.execute("UPDATE changes SET at = strftime('%Y-%m-%dT%H:%M:%fZ', at, '-2 days')")
    service.start("--feed-retention-days", "1")
    until("the log to be cut", lambda: service.call("GET", "/v1/feed")[0] == 410)
    assert "before-log" in once(service, database)
    assert len(assert_same(service, database)) == 11
    # And on with the feed, from where the snapshot began.
    service.put("p6", title="again")
    assert "snapshot" not in once(service, database)
    assert len(assert_same(service, database)) == 12


def test_it_outlives_database_and_service_and_ends_when_told(service: Service, cluster: Cluster) -> None:
    database = cluster.new_database()
    consumer = Consumer(service, database)
    consumer.until_said("is stored")
    refused = Consumer(service, database, "--once", "--lock-wait-s", "0.2")
    assert "another consumer keeps the tables" in refused.ends(1)
    service.put("a", title="A")
    until("the record", lambda: cursor(database)[1] == 1)
    cluster.stop()
    service.put("b", title="B")
    consumer.until_said("database: ")
    cluster.start()
    until("the record", lambda: cursor(database)[1] == 2)
    service.stop()
    consumer.until_said("refused")
    service.start()
    service.put("c", title="C")
    until("the record", lambda: cursor(database)[1] == 3)
    # It waits for more.
    consumer.process.terminate()
    assert consumer.ends().endswith("stopped\n")
    assert_same(service, database)


def test_it_shows_its_key(service: Service, cluster: Cluster, tmp_path: Path) -> None:
    service.put("a", title="A")
    service.stop()
    keys, key, command = tmp_path / "keys.json", tmp_path / "key", [str(service.program), "keys", "new", "--id", "shop"]
    made = subprocess.run([*command, "--scopes", "search"], capture_output=True, text=True, check=True)
    keys.write_text(made.stdout)
    key.write_text(re.findall(r"^vitrine_\S+$", made.stdout + made.stderr, re.M)[0] + "\n")
    service.start("--keys-file", str(keys))
    database = cluster.new_database()
    assert "answered 401" in Consumer(service, database, "--once").ends(1)
    once(service, database, "--key-file", str(key))
    assert list(tables(database)) == ["a"]


def record(kind: str, seq: int, **data: object) -> dict[str, Any]:
    schema = "urn:vitrine:feed:v1"
    return {"type": f"vitrine.{kind}.v1", "source": "urn:uuid:x", "id": str(seq), "seq": seq, "dataschema": schema, "data": data}


def test_what_a_later_service_may_send(cluster: Cluster) -> None:
    none: list[Any] = []
    created = record("product_upserted", 2, product_id="p", metadata={"title": "P", "later": 1}, attributes=none)
    gone = record("image_deleted", 3, product_id="q", image_id="i", attributes=none)
    with Tables(cluster.new_database(), Stop(), 1) as kept:
        kept.store_snapshot(kept.cursor(), Page([], "urn:uuid:x", 0, None))
        # Kinds that are not known here, one without a product; of a product that is deleted later.
        page = Page([record("job_ended", 1, job_id="j"), created, gone, {**gone, "type": "com.example"}], "urn:uuid:x", 4, None)
        assert not kept.apply(kept.cursor(), page)
        # What would be misread is not passed, nor what came before it on the page.
        later = {**created, "seq": 6, "type": "vitrine.product_upserted.v2"}
        bare = record("product_upserted", 6, product_id="p", attributes=none)
        for bad, reason in [
            (later, "needs an update"),
            ({**created, "dataschema": "v2"}, "needs an update"),
            (bare, "'metadata'"),
        ]:
            deleted = record("product_deleted", 5, product_id="p")
            with pytest.raises(FeedError, match=reason):
                kept.apply(kept.cursor(), Page([deleted, bad], "urn:uuid:x", 6, None))
        at = kept.cursor()
        assert (at.after, tables(cluster.last_url)) == (4, {"p": ({"title": "P", "later": 1}, [], {}, 2, [])})
        # Records that are not newer do nothing, and a page is stored once.
        old = {"product_id": "p", "image_id": "i", "image": {"image_id": "i"}, "metadata": {}, "corrections": {"a": "b"}}
        kinds = ["product_upserted", "image_upserted", "analysis_replaced", "attributes_corrected", "product_deleted"]
        page = Page([record(kind, 2, **old, attributes=["old"]) for kind in kinds], "urn:uuid:x", 5, None)
        kept.apply(at, page)
        assert tables(cluster.last_url) == {"p": ({"title": "P", "later": 1}, [], {}, 2, [])}
        with pytest.raises(Taken, match="another consumer writes"):
            kept.apply(at, page)
