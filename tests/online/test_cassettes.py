"""Recording what passes through, and replaying it: the whole way, with the proxy in its own process."""

from __future__ import annotations

import gzip
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
import requests
import vcr
import yaml

from support.clients import ACCOUNT, GOOD, TOKEN, Response, basic, http, path
from support.proxying import requesting, ringback, serve
from support.upstream import RESET, arguments, response, twilio

if TYPE_CHECKING:
    from pathlib import Path

    from support.proxying import Serving
    from support.upstream import LoopbackUpstream, Seen

ERROR = twilio(400, 21211, message="The 'To' number 1 is not a valid phone number.")


def asked(serving: Serving, name: str | None = None, **form: str) -> Response:
    """One message, in a tunnel whose client calls itself `name`."""
    more = b"" if name is None else f"Proxy-Authorization: {basic(name, 'x')[1]}\r\n".encode()
    with serving.wire() as wire:
        wire.tunnel("api.twilio.com:443", more).tls(serving.ca)
        return wire.send(http(form={**GOOD["Messages"], **form})).response()


def counting(upstream: LoopbackUpstream) -> None:
    """Each answer gets its own number."""
    lock, numbers = threading.Lock(), iter(range(100_000))

    def rule(seen: Seen) -> bytes:
        with lock:
            return twilio(201, None, sid=f"SM{next(numbers):032x}", body=dict(seen.form)["Body"])

    upstream.rule = rule


def source(got: Response) -> str:
    return got.header("Ringback-Source") or ""


def entries(file: Path) -> list[dict[str, object]]:
    found = yaml.safe_load(file.read_text(encoding="utf-8"))["interactions"]
    assert isinstance(found, list)
    return found


def test_recorded_online_replayed_offline(upstream: LoopbackUpstream, home: Path, tmp_path: Path) -> None:
    counting(upstream)
    there = ["--cassettes", str(tmp_path / "cassettes")]
    with serve(home, tmp_path, *arguments(upstream, "online"), *there) as running:
        live = [asked(running, Body=body) for body in ("one", "two", "one")]
    assert [got.header("Ringback-Cassette") for got in live] == ["default#1", "default#2", "default#3"]
    assert "cassette default: 3 recorded" in running.stderr()
    upstream.seen.clear()
    (tmp_path / "ready.json").unlink(missing_ok=True)
    with serve(home, tmp_path, *there) as running:
        replayed = [asked(running, Body=body) for body in ("one", "two", "one", "one")]
        other = asked(running, Body="never recorded")
    assert [got.body for got in replayed] == [live[0].body, live[1].body, live[2].body, live[2].body]
    assert source(replayed[0]).startswith("cassette; rule=default#1; basis=recorded")
    assert source(other).startswith("contract")
    assert "cassette default: 4 replayed, 1 missed" in running.stderr()
    assert upstream.seen == []


def test_online_records_afresh_and_the_old_cassette_lives_until_the_end(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    cassettes = tmp_path / "cassettes"
    for number in range(2):
        upstream.rule = lambda _, number=number: twilio(201, None, sid=f"SM{number:032x}")
        (tmp_path / str(number)).mkdir()
        options = [*arguments(upstream, "online"), "--cassettes", str(cassettes)]
        with serve(home, tmp_path / str(number), *options) as running:
            asked(running)
            if number:
                assert f"SM{0:032x}" in (cassettes / "default.yaml").read_text()
    assert len(entries(cassettes / "default.yaml")) == 1
    assert f"SM{1:032x}" in (cassettes / "default.yaml").read_text()


def test_a_failed_program_or_an_unanswered_request_leaves_the_old_cassette(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    counting(upstream)
    there = ["--cassettes", str(tmp_path / "cassettes")]
    sent = requesting(list(GOOD["Messages"].items()))
    online = ["run", *arguments(upstream, "online"), *there, "--", sys.executable, "-c"]
    assert ringback(home, *online, sent).returncode == 0
    old = tmp_path / "cassettes" / "default.yaml"
    first = old.read_bytes()
    done = ringback(home, *online, f"{sent}\nraise SystemExit(7)")
    assert done.returncode == 7
    assert f"kept with its 1 interaction, because {sys.executable} ended with exit code 7" in done.stderr
    with serve(home, tmp_path, *arguments(upstream, "online"), *there) as running:
        asked(running)
        upstream.rule = lambda _: RESET
        assert asked(running).status == 424
    assert "kept with its 1 interaction, because 1 request had no live answer" in running.stderr()
    upstream.rule = lambda seen: (
        RESET if dict(seen.form)["Body"] == "lost" else twilio(201, None, sid="SM" + "7" * 32)
    )
    lost = requesting(
        [*((name, value) for name, value in GOOD["Messages"].items() if name != "Body"), ("Body", "lost")]
    )
    done = ringback(home, *online, f"{sent}\n{lost}")
    assert (done.returncode, done.stdout.split()) == (6, ["201", "424"])
    assert "its new recording was put aside as cassette default-interrupted-3" in done.stderr
    assert old.read_bytes() == first
    for number in (1, 2, 3):
        assert len(entries(tmp_path / "cassettes" / f"default-interrupted-{number}.yaml")) == 1
    upstream.rule = lambda _: ERROR
    done = ringback(home, *online, sent)
    assert f"{old}: recorded afresh, 1 interaction replaced by 1" in done.stderr
    assert "code: 400" in old.read_text()


def test_auto_adds_what_is_new_and_asks_for_nothing_twice(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    options = [*arguments(upstream, "auto"), "--cassettes", str(tmp_path / "cassettes")]
    with serve(home, tmp_path, *options) as running:
        first, second, third = asked(running), asked(running), asked(running, Body="new")
    assert [source(got).partition(";")[0] for got in (first, second, third)] == ["live", "cassette", "live"]
    assert len(upstream.forwarded) == 2
    assert len(entries(tmp_path / "cassettes" / "default.yaml")) == 2


def test_what_says_only_that_there_is_no_answer_now_is_not_kept(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    options = [*arguments(upstream, "online"), "--cassettes", str(tmp_path / "cassettes")]
    with serve(home, tmp_path, *options) as running:
        for answer in (response(503, b"later"), twilio(429, 20429)):
            upstream.rule = lambda _, answer=answer: answer
            assert asked(running).header("Ringback-Cassette") is None
        upstream.rule = lambda _: ERROR
        assert asked(running).header("Ringback-Cassette") == "default#1"
    assert len(entries(tmp_path / "cassettes" / "default.yaml")) == 1


def test_no_secret_is_written_and_vcrpy_replays_the_file(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    text = json.dumps({"sid": "SM" + "1" * 32, "account_sid": ACCOUNT, "body": "grüße"}).encode()
    fields = [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Set-Cookie", "secret=1")]
    upstream.rule = lambda _: response(201, gzip.compress(text), *fields, reason="CREATED")
    options = [*arguments(upstream, "online"), "--cassettes", str(tmp_path / "cassettes")]
    with serve(home, tmp_path, *options) as running:
        assert gzip.decompress(asked(running).body) == text
    file = tmp_path / "cassettes" / "default.yaml"
    written = file.read_text(encoding="utf-8")
    for secret in (TOKEN, basic()[1].partition(" ")[2], ACCOUNT, "secret=1"):
        assert secret not in written
    url = next(str(dict(entry)["request"]["uri"]) for entry in entries(file))  # type: ignore[index] # YAML
    with vcr.use_cassette(str(file), record_mode="none", match_on=["method", "uri", "body"]):  # type: ignore[attr-defined] # untyped
        got = requests.post(url, data=urlencode(GOOD["Messages"]), timeout=60)
    assert (got.status_code, got.json()["body"]) == (201, "grüße")


def test_64_clients_with_64_names_have_64_cassettes(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    counting(upstream)
    options = [*arguments(upstream, "auto"), "--cassettes", str(tmp_path / "cassettes")]
    names, bodies = [f"client-{number}" for number in range(64)], ("a", "b", "c")
    with serve(home, tmp_path, *options) as running, ThreadPoolExecutor(64) as pool:

        def one(name: str) -> list[bytes]:
            return [asked(running, name, Body=f"{name} {body}").body for body in bodies]

        got = dict(zip(names, pool.map(one, names), strict=True))
    found = sorted(file.stem for file in (tmp_path / "cassettes").glob("*.yaml"))
    assert found == sorted(names)
    for name in names:
        kept = entries(tmp_path / "cassettes" / f"{name}.yaml")
        assert [entry["response"]["body"]["string"].encode() for entry in kept] == got[name]  # type: ignore[index] # YAML


@pytest.mark.parametrize("mode", ["offline", "auto", "online"])
def test_a_name_that_is_none_is_refused_in_words(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, mode: str
) -> None:
    options = [*arguments(upstream, mode), "--cassettes", str(tmp_path / "deep" / "cassettes")]
    with serve(home, tmp_path, *options) as running:
        for name in ("../up", "a/b", ".hidden", "x" * 101, "new\nline", "a.yaml"):
            got = asked(running, name)
            assert (got.status, got.error()["code"]) == (400, 20001)
            assert got.error()["message"].startswith("The cassette cannot be used: ")
        assert upstream.seen == []
        assert asked(running, "good").status == 201
    assert not (tmp_path / "deep" / "up.yaml").exists()


def test_strict_shows_the_nearest_recording(upstream: LoopbackUpstream, home: Path, tmp_path: Path) -> None:
    there = ["--cassettes", str(tmp_path / "cassettes"), "--cassette", "mine"]
    with serve(home, tmp_path, *arguments(upstream, "online"), *there) as running:
        asked(running, Body="recorded")
    (tmp_path / "ready.json").unlink(missing_ok=True)
    with serve(home, tmp_path, *there, "--strict", "--repeats", "error") as running:
        assert source(asked(running, Body="recorded")).startswith("cassette; rule=mine#1")
        used_up = asked(running, Body="recorded")
        missed = asked(running, Body="something else")
    for got, rule in ((used_up, "used-up"), (missed, "miss")):
        assert (got.status, got.error()["code"]) == (404, 20404)
        assert source(got).startswith(f"cassette; rule={rule}")
    assert "something else" in missed.error()["message"]
    assert "recorded" in missed.error()["message"]
    assert running.process.returncode == 4
    assert "2 x not in the cassette (--strict)" in running.stderr()


def test_strict_auto_records_what_it_misses_and_does_not_make_it_up(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    options = [*arguments(upstream, "auto"), "--cassettes", str(tmp_path / "cassettes"), "--strict"]
    with serve(home, tmp_path, *options) as running:
        assert source(asked(running)) == "live"
        upstream.rule = lambda _: response(503)
        got = asked(running, Body="new")
        assert (got.status, got.error()["code"]) == (404, 20404)
        assert source(got).endswith("fallback=upstream.server-error")


def test_a_directory_that_cannot_be_written_is_reported_and_the_client_served(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "a-file").write_text("in the way")
    options = [*arguments(upstream, "online"), "--cassettes", str(tmp_path / "a-file" / "cassettes")]
    with serve(home, tmp_path, *options) as running:
        for _ in range(2):
            got = asked(running)
            assert (got.status, source(got)) == (201, "live")
            assert (got.header("Ringback-Cassette") or "").startswith("not recorded")
    log = running.stderr()
    assert log.count("not recorded in ") == 1  # once, not for every request
    assert "cassette default: 2 NOT recorded" in log


def test_a_broken_cassette_is_reported_at_start(home: Path, tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text("interactions: 5\n")
    done = ringback(home, "run", "--cassettes", str(tmp_path), "--", "true")
    assert done.returncode == 5
    assert "default.yaml" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("strict", [True, False])
def test_run_exits_4_for_what_is_missing_or_unused(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, strict: bool
) -> None:
    there = ["--cassettes", str(tmp_path / "cassettes")]
    program = ["--", sys.executable, "-c", requesting(list(GOOD["Messages"].items()))]
    assert ringback(home, "run", *arguments(upstream, "online"), *there, *program).returncode == 0
    assert ringback(home, "run", *there, "--strict", "--fail-on-unused", *program).returncode == 0
    other = ["--", program[1], "-c", requesting([*GOOD["Messages"].items(), ("MaxPrice", "1")])]
    done = ringback(home, "run", *there, "--strict" if strict else "--fail-on-unused", *other)
    assert (done.returncode, done.stdout.strip()) == (4, "404" if strict else "201")
    said = "1 x not in the cassette (--strict)" if strict else "1 unused"
    assert said in done.stderr
    assert "Messages" in done.stderr, "the missed request, or the unused recording"


def test_redacted_fields_are_recorded_and_replayed(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    counting(upstream)
    there = ["--cassettes", str(tmp_path / "cassettes"), "--redact", "To,Body"]
    key = {"RINGBACK_REDACT_KEY": "0123456789abcdef" * 4}
    with serve(home, tmp_path, *arguments(upstream, "online"), *there, more=key) as running:
        live = [asked(running, Body=body) for body in ("private one", "private two")]
    written = (tmp_path / "cassettes" / "default.yaml").read_text()
    assert "private" not in written
    assert GOOD["Messages"]["To"][1:] not in written
    (tmp_path / "ready.json").unlink(missing_ok=True)
    with serve(home, tmp_path, *there, "--strict", more=key) as running:
        for body, before in (("private two", live[1]), ("private one", live[0])):
            assert asked(running, Body=body).json() == before.json()


def test_a_client_without_a_tunnel_names_its_cassette_too(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    options = [*arguments(upstream, "online"), "--cassettes", str(tmp_path / "cassettes")]
    with serve(home, tmp_path, *options) as running, running.wire() as wire:
        told = [("Proxy-Authorization", basic("plain", "x")[1])]
        target = f"http://api.twilio.com{path()}"
        got = wire.send(http(target=target, form=GOOD["Messages"], headers=told)).response()
    assert got.header("Ringback-Cassette") == "plain#1"
    [seen] = upstream.forwarded
    assert (seen.target, seen.server_name) == (path(), "api.twilio.com")  # over TLS, whatever the client used
    assert seen.header("Proxy-Authorization") is None


def test_run_with_a_password_keeps_to_its_cassette(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    there = ["--cassettes", str(tmp_path / "cassettes"), "--cassette", "mine"]
    program = ["--", sys.executable, "-c", requesting(list(GOOD["Messages"].items()))]
    more = {"RINGBACK_PROXY_PASSWORD": "of-the-proxy"}
    done = ringback(home, "run", *arguments(upstream, "online"), *there, *program, more=more)
    assert (done.returncode, done.stdout.strip()) == (0, "201")
    assert [file.name for file in (tmp_path / "cassettes").iterdir()] == ["mine.yaml"]
    assert "of-the-proxy" not in (tmp_path / "cassettes" / "mine.yaml").read_text()
