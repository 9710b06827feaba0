"""Cassettes in an object store, against an S3 server on loopback."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import vcr
from click.testing import CliRunner

from ringback.cassettes.manager import CassetteManager, CassetteOptions
from ringback.cassettes.object_store import RemoteError, check_url
from ringback.cassettes.remote import RemoteCassettes
from ringback.cli import cassettes as commands
from ringback.contract import Answer, Source
from ringback.responder import Responder, SetupError
from ringback.settings import Settings
from support.clients import GOOD, post
from support.s3 import SECRET, Store, s3_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ringback.exchange import Mode, Request

pytest.importorskip("obstore", reason="the extra `fleet` is not installed")
pytestmark = pytest.mark.usefixtures("_cache")

URL = "s3://shop/recorded"


@pytest.fixture
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with s3_server() as store:
        for name, value in store.environ.items():
            monkeypatch.setenv(name, value)
        yield store


class Recorder:
    """A process that uses the store: its copies, and a manager over them."""

    def __init__(self, mode: Mode = "auto", url: str = URL, redact: tuple[str, ...] = ()) -> None:
        self.said: list[str] = []
        self.remote = RemoteCassettes(url, report=self.said.append, refresh=0)
        self.remote.start()
        self.manager = CassetteManager(
            CassetteOptions(self.remote.directory, redact=redact),
            mode,
            report=self.said.append,
            remote=self.remote,
        )

    def record(self, body: str, text: str = "", name: str | None = None) -> str:
        return asyncio.run(self.manager.record(message(body), answer(text or body), name))

    def found(self, body: str, name: str | None = None) -> str:
        got = self.manager.lookup(message(body), name)
        return got.body.decode() if isinstance(got, Answer) else ""

    def close(self) -> None:
        self.manager.close()


@pytest.fixture
def recorder(bucket: Store) -> Iterator[Callable[..., Recorder]]:
    assert bucket.url
    made: list[Recorder] = []

    def make(*given: object, **more: object) -> Recorder:
        made.append(Recorder(*given, **more))  # type: ignore[arg-type] # passed on
        return made[-1]

    yield make
    for one in made:
        one.close()


def message(body: str) -> Request:
    return post("Messages", {**GOOD["Messages"], "Body": body})


def answer(text: str) -> Answer:
    return Answer(201, "CREATED", (("Content-Type", "application/json"),), text.encode(), Source("live"))


def test_recorders_write_segments_and_readers_see_all(
    bucket: Store, recorder: Callable[..., Recorder]
) -> None:
    first, second = recorder(), recorder()
    assert first.record("one") == "default#1"
    assert second.record("two") == "default#1"
    assert first.record("three") == "default#2"
    assert len(bucket.names("shop/recorded/default.segments/")) == 3
    assert bucket.names() == bucket.names("/default.segments/"), "no shared object is written"
    assert first.found("two") == "", "not looked yet"
    first.remote.pull()
    reader = recorder("offline")
    for one in (first, reader):
        assert [one.found(body) for body in ("one", "two", "three")] == ["one", "two", "three"]
    assert len({line for line in bucket.asked if line.startswith("PUT")}) == 3, (
        "each once, under its own name"
    )


def test_the_kth_equal_request_gets_the_kth_answer_of_all_recorders(
    recorder: Callable[..., Recorder],
) -> None:
    first, second = recorder(), recorder()
    for number, one in enumerate([first, second, first, second], 1):
        one.record("same", f"answer {number}")
    reader = recorder("offline")
    assert [reader.found("same") for _ in range(5)] == [
        *(f"answer {number}" for number in (1, 2, 3, 4)),
        "answer 4",
    ]


def test_many_recorders_at_once_lose_nothing(  # noqa: C901 - three kinds of threads
    bucket: Store, recorder: Callable[..., Recorder]
) -> None:
    recorders = [recorder() for _ in range(3)]
    bodies = {
        f"cassette-{number}": [f"{at}.{number}.{k}" for at in range(3) for k in range(4)] for number in (0, 1)
    }
    stop = threading.Event()

    def look() -> None:  # as the thread does, all the time
        while not stop.is_set():
            for one in recorders:
                one.remote.pull()

    def work(at: int) -> None:
        for name, all_of_it in bodies.items():
            for body in all_of_it[4 * at : 4 * at + 4]:
                recorders[at].record(body, name=name)

    looking = threading.Thread(target=look)
    threads = [threading.Thread(target=work, args=(at,)) for at in range(3)]
    for thread in (looking, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    looking.join()
    for one in [*recorders, recorder("offline")]:
        one.remote.pull()
        for name, all_of_it in bodies.items():
            assert [one.found(body, name) for body in all_of_it] == all_of_it
            assert len(one.manager._cassette(name) or ()) == 12, "nothing is there twice"
    assert bucket.names("cassette-1.yaml") == []


def test_what_is_recorded_during_a_look_stays(
    recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, other = recorder(), recorder()
    listed = running.remote.objects

    def objects() -> object:
        found = listed()
        running.record("mine")  # after the listing, before it is used
        return found

    other.record("theirs")
    monkeypatch.setattr(running.remote, "objects", objects)
    running.remote.pull()
    assert [running.found(body) for body in ("theirs", "mine")] == ["theirs", "mine"]


def test_unchanged_objects_are_not_fetched_again(bucket: Store, recorder: Callable[..., Recorder]) -> None:
    recorder().record("one")
    first = recorder("offline")
    assert first.found("one") == "one"

    def fetched() -> int:
        return len([line for line in bucket.asked if line.startswith("GET") and ".yaml" in line])

    before = fetched()
    first.remote.pull()
    again = recorder("offline")
    assert again.found("one") == "one"
    assert fetched() == before, "the ETag is the one of the local copy"


def test_compact_makes_one_vcrpy_file(
    bucket: Store, recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    running, other = recorder(), recorder("offline")
    for body in ("one", "two", "three"):
        running.record(body)
    other.remote.pull()
    assert other.found("two") == "two"
    assert running.remote.compact("default") == (3, 3, 0)
    assert bucket.names() == ["shop/recorded/default.yaml"]
    file = tmp_path / "default.yaml"
    file.write_bytes(bucket.objects["shop/recorded/default.yaml"])
    with vcr.use_cassette(str(file), record_mode="none") as cassette:
        assert len(cassette.data) == 3
    running.record("four")
    for one in (running, other, recorder("offline")):
        one.remote.pull()
        assert [one.found(body) for body in ("one", "two", "three", "four")] == [
            "one",
            "two",
            "three",
            "four",
        ]
        assert len(one.manager._cassette("default") or ()) == 4
    assert running.remote.compact("default") == (4, 1, 0)
    assert running.remote.compact("default") == (4, 0, 0)
    assert "compacted" not in bucket.objects["shop/recorded/default.yaml"].decode() or not bucket.names(
        "segments"
    )


def test_compacting_that_was_interrupted_counts_nothing_twice(
    bucket: Store, recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = recorder()
    running.record("one")
    running.record("two")
    monkeypatch.setattr(running.remote._bucket, "delete", lambda _paths: None)
    running.remote.compact("default")
    assert len(bucket.names()) == 3
    reader = recorder("offline")
    assert reader.found("one") == "one"
    assert len(reader.manager._cassette("default") or ()) == 2
    monkeypatch.undo()


def test_many_segments_are_compacted_in_rounds(
    bucket: Store, recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, fresh, late = recorder(), recorder("online"), recorder()
    for body in ("old", "old too", "same"):
        old.record(body)
    fresh.remote.pull()
    bodies = [f"new {number}" for number in range(5)]
    for body in bodies:
        fresh.record(body)
    fresh.close()  # in the place of the three
    for number in range(4):
        late.record("same", f"answer {number}")
    monkeypatch.setattr("ringback.cassettes.remote.MOST_COMPACTED", 2)
    asked = len(bucket.asked)
    assert late.remote.compact("default") == (9, 12, 0)
    assert sum(line.startswith("PUT") for line in bucket.asked[asked:]) == 5
    assert bucket.names() == ["shop/recorded/default.yaml"]
    [data] = bucket.objects.values()
    assert data.count(b".segments/") <= 2, "the head of the file stays short"
    reader = recorder("offline")
    assert [reader.found(body) for body in ("old", *bodies)] == ["", *bodies]
    assert [reader.found("same") for _ in range(4)] == [f"answer {number}" for number in range(4)]


def test_of_two_that_compact_at_once_one_is_refused(
    bucket: Store, recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, other = recorder(), recorder()
    running.record("one")
    running.remote.compact("default")
    running.record("two")
    objects, made = running.remote.composition("default", compacting=True)
    other.record("three")
    other.remote.compact("default")
    monkeypatch.setattr(running.remote, "composition", lambda *_given, **_more: (objects, made))
    with pytest.raises(RemoteError, match="another process has changed it"):
        running.remote.compact("default")
    reader = recorder("offline")
    assert [reader.found(body) for body in ("one", "two", "three")] == ["one", "two", "three"]
    assert bucket.names() == ["shop/recorded/default.yaml"]


def test_a_cassette_of_vcrpy_is_read_and_added_to(bucket: Store, recorder: Callable[..., Recorder]) -> None:
    local = (
        "interactions:\n- request:\n    body: From=%2B15005550006&To=%2B14105550100&Body=foreign\n"
        "    headers:\n      Content-Type:\n      - application/x-www-form-urlencoded\n    method: POST\n"
        f"    uri: https://api.twilio.com{message('foreign').path}\n"
        "  response:\n    body:\n      string: theirs\n    headers: {}\n"
        "    status:\n      code: 201\n      message: CREATED\nversion: 1\n"
    )
    bucket.objects["shop/recorded/default.yaml"] = local.encode()
    running = recorder()
    foreign = post("Messages", {"From": "+15005550006", "To": "+14105550100", "Body": "foreign"})
    assert getattr(running.manager.lookup(foreign, None), "body", b"") == b"theirs"
    running.record("ours")
    reader = recorder("offline")
    assert reader.found("ours") == "ours"
    assert getattr(reader.manager.lookup(foreign, None), "body", b"") == b"theirs"
    assert bucket.objects["shop/recorded/default.yaml"] == local.encode(), "it is never rewritten"
    assert reader.remote.compact("default") == (2, 1, 0)


def test_a_recording_afresh_replaces_at_its_end(bucket: Store, recorder: Callable[..., Recorder]) -> None:
    old = recorder()
    old.record("one", "old")
    old.remote.compact("default")
    old.record("two", "old")
    fresh = recorder("online")
    fresh.record("one", "new")
    reader = recorder("offline")
    assert [reader.found("one"), reader.found("two")] == ["old", "old"], "it goes on"
    fresh.close()
    reader.remote.pull()
    assert reader.found("one") == "new"
    assert recorder("offline").found("two") == "", "the old one is replaced as a whole"
    assert any("recorded afresh" in line for line in fresh.said)
    assert reader.remote.compact("default") == (1, 2, 0)
    assert bucket.names() == ["shop/recorded/default.yaml"]


def test_what_was_compacted_meanwhile_stays_beside_a_recording_afresh(
    bucket: Store, recorder: Callable[..., Recorder]
) -> None:
    old = recorder()
    old.record("one", "old")
    fresh = recorder("online")
    fresh.record("one", "new")
    assert old.remote.compact("default") == (1, 1, 1)
    fresh.close()
    reader = recorder("offline")
    assert [reader.found("one") for _ in range(2)] == ["old", "new"], "nobody may have taken in more"
    assert len(bucket.names()) == 3


def test_an_interrupted_recording_afresh_is_taken_in_on_request(
    bucket: Store, recorder: Callable[..., Recorder]
) -> None:
    recorder().record("one", "old")
    killed = recorder("online")
    assert killed.record("two", "acknowledged").startswith("default#")
    reader = recorder("offline")
    assert reader.remote.compact("default") == (1, 1, 1)
    assert reader.remote.compact("default", unended=True) == (2, 1, 0)
    reader.remote.pull()
    assert reader.found("two") == "acknowledged"
    assert bucket.names() == ["shop/recorded/default.yaml"]


def test_a_store_that_is_away(bucket: Store, recorder: Callable[..., Recorder]) -> None:
    running = recorder()
    running.record("one")
    running.remote.pull()
    bucket.away = True
    said = running.record("two")
    assert said.startswith("not recorded"), said
    assert SECRET not in said
    assert running.found("one") == "one"
    assert running.found("two") == "", "what the store does not have is not here either"
    again = recorder("offline")
    assert again.found("one") == "one", "from the copies of an earlier run"
    assert any("earlier run" in line for line in again.said)
    with pytest.raises(SetupError, match="cassettes: s3://shop/other: the server answered 503"):
        Responder.open(Settings(cassettes="s3://shop/other"))


def test_an_object_that_changes_while_it_is_read(bucket: Store, recorder: Callable[..., Recorder]) -> None:
    recorder().record("one")
    busy = recorder()
    busy.record("two")
    changed: list[str] = []

    def compact(path: str) -> None:
        if not changed and ".segments/" in path:
            changed.append(path)
            bucket.before_get = lambda _path: None
            busy.remote.compact("default")

    bucket.before_get = compact
    reader = RemoteCassettes(URL, refresh=0, cache=busy.remote.directory / "other-cache")
    reader.start()
    assert changed
    assert reader.composition("default")[1].taken == frozenset()
    assert b"two" in (reader.directory / "default.yaml").read_bytes()
    reader.close()


def test_a_copy_is_kept_under_the_etag_that_came_with_it(
    bucket: Store, recorder: Callable[..., Recorder]
) -> None:
    path = "shop/recorded/default.yaml"
    contents = []
    for body in ("one", "two"):
        writer = recorder()
        writer.record(body)
        writer.remote.compact("default")
        contents.append(bucket.objects.pop(path))

    def replace(_path: str) -> None:
        bucket.objects[path] = contents[1]

    bucket.objects[path] = contents[0]
    bucket.before_get = replace  # after the listing
    reader = recorder("offline")
    assert (reader.found("one"), reader.found("two")) == ("", "two")
    bucket.before_get = lambda _path: None
    bucket.objects[path] = contents[0]  # somebody takes it back
    again = recorder("offline")
    assert (again.found("one"), again.found("two")) == ("one", "")


def test_listings_may_leave_the_quotes_of_etags_out(bucket: Store, recorder: Callable[..., Recorder]) -> None:
    bucket.bare = True
    first, second = recorder(), recorder()
    first.record("one")
    second.record("two")
    assert second.remote.compact("default") == (2, 2, 0)
    first.record("three")
    reader = recorder("offline")
    assert [reader.found(body) for body in ("one", "two", "three")] == ["one", "two", "three"]


def test_pseudonyms_of_two_kinds_are_not_mixed(
    recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGBACK_REDACT_KEY", "k" * 32)
    plain = recorder()
    redacting = recorder(redact=("To",))
    redacting.manager.lookup(message("one"), None)  # opened before the other has recorded
    plain.record("one")
    redacting.remote.pull()
    said = redacting.record("two")
    assert "--redact" in said, said


def test_a_broken_segment_is_left_out_and_reported(bucket: Store, recorder: Callable[..., Recorder]) -> None:
    running = recorder()
    running.record("one")
    bucket.objects["shop/recorded/default.segments/20200101T000000.000000Z-00000000.yaml"] = b"nothing: [\n"
    reader = recorder("offline")
    assert reader.found("one") == "one"
    assert len([line for line in reader.said if "left out" in line]) == 1
    with pytest.raises(Exception, match="nothing was changed"):
        reader.remote.compact("default")
    assert len(bucket.names()) == 2


def test_a_broken_cassette_is_reported_as_in_a_directory(bucket: Store) -> None:
    bucket.objects["shop/recorded/default.yaml"] = b"nothing: [\n"
    with pytest.raises(SetupError, match=r"default\.yaml"):
        Responder.open(Settings(cassettes=URL))


def test_no_credential_is_in_a_message(bucket: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{bucket.url}/?X-Amz-Signature=signed&key={SECRET}")
    bucket.away = True
    with pytest.raises(SetupError) as error:
        Responder.open(Settings(cassettes=URL))
    assert SECRET not in str(error.value)
    assert "signed" not in str(error.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SetupError, match="no connection, or no answer in time"):
        Responder.open(Settings(cassettes=URL))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text,said",
    [
        ("ftp://host/path", "ftp:// is not known"),
        ("s3://key:secret@bucket/path", "no user"),
        ("https://host/path?X-Amz-Signature=1", "no user, password or query"),
        ("s3:///path", "s3://BUCKET/PATH"),
        ("http://example.com/path", "loopback alone"),
        ("https://[", "no URL"),
    ],
)
def test_addresses_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        check_url(text)
    assert "secret" not in str(error.value)


def test_a_web_server_can_be_read(bucket: Store, recorder: Callable[..., Recorder]) -> None:
    running = recorder()
    running.record("one")
    running.remote.compact("default")
    url = f"{bucket.url}/shop/recorded"
    reader = recorder("offline", url)
    assert reader.found("one") == "one"
    assert reader.found("one", "nobodys") == ""
    before = len(bucket.asked)
    assert reader.found("one", "nobodys") == ""
    assert len(bucket.asked) == before, "a name that is not there is not asked for with each request"
    assert 304 not in bucket.answered
    assert recorder("offline", url).found("one") == "one"
    assert bucket.answered[-1] == 304, "the copy of the earlier run is the one that the server has"
    bucket.away = True
    away = recorder("offline", url)
    assert away.found("one") == "one", "from the copy of an earlier run"
    assert away.found("one", "nobodys") == ""
    assert len(away.said) == 2
    bucket.away = False
    running.record("two")
    running.remote.compact("default")
    reader.remote.pull()
    assert reader.found("two") == "two"
    with pytest.raises(SetupError, match="can only be read"):
        Responder.open(Settings(mode="auto", cassettes=url))


def test_commands_read_compact_and_change_nothing_else(
    bucket: Store, recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder().record("one", name="shop")
    recorder().record("two", name="shop")
    run = CliRunner().invoke
    listed = run(commands.command, ["list", "--cassettes", URL])
    assert listed.exit_code == 0, listed.output
    assert "shop" in listed.output
    shown = run(commands.command, ["show", "shop", "2", "--cassettes", URL])
    assert "two" in shown.output
    refused = run(commands.command, ["delete", "shop", "1", "--cassettes", URL])
    assert refused.exit_code == 2
    assert "cannot be changed in place" in refused.output
    refused = run(commands.command, ["verify", "--repair", "--cassettes", URL])
    assert refused.exit_code == 2, refused.output
    file = tmp_path / "shop.yaml"
    written = run(commands.command, ["compact", "shop", "--output", str(file), "--cassettes", URL])
    assert written.exit_code == 0, written.output
    assert file.read_text().count("- request:") == 2
    assert len(bucket.names("segments")) == 2
    compacted = run(commands.command, ["compact", "shop", "--cassettes", URL])
    assert compacted.output == "shop: 2 interactions, 2 segments taken in\n"
    assert bucket.names() == ["shop/recorded/shop.yaml"]
    missing = run(commands.command, ["compact", "nobodys", "--cassettes", URL])
    assert (missing.exit_code, missing.output) == (1, f"Error: {URL} has no cassette 'nobodys'\n")
    directory = run(commands.command, ["compact", "shop", "--cassettes", str(tmp_path)])
    assert directory.exit_code == 2


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SetupError, match=r"pip install 'ringback\[fleet\]'"):
        Responder.open(Settings(cassettes=URL))


def test_a_profile_of_aws_is_used(bucket: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("boto3", reason="boto3 reads profiles, and is not installed")
    file = tmp_path / "credentials"
    file.write_text(f"[shop]\naws_access_key_id = profile-key\naws_secret_access_key = {SECRET}\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "shop")
    importlib.import_module("boto3").setup_default_session()
    remote = RemoteCassettes(URL, refresh=0)
    remote.start()
    remote.close()
    assert "Credential=profile-key/" in bucket.headers[-1]


def test_nothing_is_imported_for_a_directory(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ringback.responder import Responder; "
        "from ringback.settings import Settings; "
        f"made = Responder.open(Settings(mode='auto', cassettes=Path({str(tmp_path)!r}))); made.close(); "
        "print([name for name in sys.modules if name.startswith('obstore') or 'cassettes.remote' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
