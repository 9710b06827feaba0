"""State in this process and on a server: the same tests; and a server that is away, slow or wiped."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import structs

from ringback.cassettes.manager import CassetteManager, CassetteOptions
from ringback.contract import Answer, Names, Request, Source
from ringback.control import Control
from ringback.journal import Journal
from ringback.records import Entry
from ringback.responder import Responder, SetupError
from ringback.settings import Settings, SettingsError, load
from ringback.state import State
from ringback.upstream.proof import Proofs
from support import throwaway
from support.clients import ACCOUNT, GOOD, TOKEN, live_answer, post, respond
from support.namespaces import Network
from support.valkey import Server, program, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ringback.state_redis import RedisState

PASSWORD = "a password of the fleet"
TEST = live_answer(403, "", (), b'{"code": 20008}')
LIVE = live_answer(200, "", (), b'{"sid": "AC"}')
REQUEST = post("Messages")
READY = 60.0  # seconds that a test waits for what another thread does


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("valkey")) as made:
        yield made


@pytest.fixture
def store(running: Server) -> Server:
    import redis  # noqa: PLC0415 - an extra

    redis.Redis.from_url(running.url).flushall()
    return running


class Fleet:
    """Replicas that share a server, or one that shares with nobody."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self.said: list[str] = []
        self.states: list[State] = []

    def replica(self, password: str | None = PASSWORD) -> Any:
        if self.url is None:
            self.states.append(self.states[0] if self.states else State())
            return self.states[-1]
        from ringback.state_redis import RedisState  # noqa: PLC0415 - an extra

        made = RedisState(self.url, password=password, report=self.said.append)
        made.start()
        self.states.append(made)
        return made

    def close(self) -> None:
        for state in self.states:
            state.close()


@pytest.fixture(params=["process", "server"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    made = Fleet(None if request.param == "process" else request.getfixturevalue("store").url)
    yield made
    made.close()


@pytest.fixture
def shared(store: Server) -> Iterator[Fleet]:
    made = Fleet(store.url)
    yield made
    made.close()


def wait_for(true: Callable[[], object]) -> None:
    end = time.monotonic() + READY
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no call be late on a busy machine, and come back at once after a failure."""
    monkeypatch.setattr("ringback.state_redis.TIME_LIMIT", 20.0)
    monkeypatch.setattr("ringback.state_redis.PAUSE", 0.05)


# -- both kinds


def test_places_of_replay_count_over_all_replicas(fleet: Fleet) -> None:
    one, other = fleet.replica(), fleet.replica()
    assert [one.uses("shop").take(b"k"), other.uses("shop").take(b"k"), one.uses("shop").take(b"k")] == [
        0,
        1,
        2,
    ]
    assert other.uses("shop").take(b"another") == 0
    assert other.uses("cart").take(b"k") == 0
    other.uses("shop").rewind()
    assert [one.uses("shop").take(b"k"), other.uses("shop").take(b"k")] == [0, 1]


def test_places_of_replay_of_threads_are_all_different(fleet: Fleet) -> None:
    replicas = [fleet.replica() for _ in range(3)]
    taken: list[int] = []
    lock = threading.Lock()

    def work(state: State) -> None:
        for _ in range(20):
            with lock:  # a cassette holds its own
                taken.append(state.uses("shop").take(b"k"))

    threads = [threading.Thread(target=work, args=(state,)) for state in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(60))


def test_rewinding_all_reaches_cassettes_that_are_open_elsewhere(fleet: Fleet) -> None:
    one, other = fleet.replica(), fleet.replica()
    one.uses("shop").take(b"k")
    other.rewind(None)
    assert one.uses("shop").take(b"k") == 0


def test_one_budget_for_all(fleet: Fleet) -> None:
    states = [fleet.replica() for _ in range(2)]
    budgets = [states[0].budget(5)] * 2 if fleet.url is None else [state.budget(5) for state in states]

    async def main() -> list[bool]:
        return await asyncio.gather(*(budgets[number % 2].spend() for number in range(20)))

    assert sum(asyncio.run(main())) == 5
    assert any(one.used_up for one in budgets)
    assert "--max-live is used up" in next(one for one in budgets if one.used_up).reason
    assert asyncio.run(states[0].budget(None).spend()), "no limit"


def test_values_are_set_and_taken_back(fleet: Fleet) -> None:
    one = fleet.replica()
    assert one.put("rows", "shop", {"Messages": []})
    assert one.values() == {("rows", "shop"): {"Messages": []}}
    assert one.put("rows", "shop", None)
    assert one.values() == {}


# -- proofs


def proofs(state: State, answers: list[Answer], scope: str = "") -> tuple[Proofs, list[Request]]:
    asked: list[Request] = []

    async def ask(request: Request) -> Answer:
        asked.append(request)
        await asyncio.sleep(0.01)
        return answers.pop(0)

    return Proofs(ask, state.verdicts, scope), asked


def test_replicas_that_ask_at_once_send_one_probe(shared: Fleet) -> None:
    made = [proofs(shared.replica(), [TEST]) for _ in range(3)]

    async def main() -> None:
        await asyncio.gather(*(each.prove(REQUEST) for each, _ in made for _ in range(5)))

    asyncio.run(main())
    assert sum(len(asked) for _, asked in made) == 1
    for each, _ in made:
        proof = asyncio.run(each.prove(REQUEST))
        assert each.covers(proof, REQUEST)


def test_live_credentials_are_refused_everywhere_after_one_probe(shared: Fleet) -> None:
    first, _ = proofs(shared.replica(), [LIVE])
    other, asked = proofs(shared.replica(), [])
    for each in (first, other):
        with pytest.raises(Exception, match=r"credentials\.live"):
            asyncio.run(each.prove(REQUEST))
    assert asked == []


def test_a_verdict_of_a_mock_proves_nothing_for_the_live_api(shared: Fleet) -> None:
    mock, _ = proofs(shared.replica(), [TEST], "http://127.0.0.1:4010")
    asyncio.run(mock.prove(REQUEST))
    real, asked = proofs(shared.replica(), [LIVE])
    with pytest.raises(Exception, match=r"credentials\.live"):
        asyncio.run(real.prove(REQUEST))
    assert len(asked) == 1


@pytest.mark.parametrize("password", ["another password", None])
def test_verdicts_are_believed_only_with_the_password(shared: Fleet, password: str | None) -> None:
    first, _ = proofs(shared.replica(), [TEST])
    asyncio.run(first.prove(REQUEST))
    other, asked = proofs(shared.replica(password), [LIVE])
    with pytest.raises(Exception, match=r"credentials\.live"):
        asyncio.run(other.prove(REQUEST))
    assert len(asked) == 1


def test_a_planted_verdict_is_not_believed(shared: Fleet) -> None:
    state = shared.replica()
    each, asked = proofs(state, [LIVE])
    claim = each._claim(REQUEST)
    assert claim is not None
    state._client.set(f"ringback:verdict:{claim.digest.hex()}", b"test " + b"0" * 64)
    with pytest.raises(Exception, match=r"credentials\.live"):
        asyncio.run(each.prove(REQUEST))
    assert len(asked) == 1


def test_the_server_has_digests_alone(shared: Fleet) -> None:
    state = shared.replica()
    each, _ = proofs(state, [TEST])
    asyncio.run(each.prove(REQUEST))
    held = state._client.keys() + [state._client.get(key) for key in state._client.keys("ringback:verdict:*")]
    assert len(held) >= 2
    assert not [
        one for one in held if TOKEN.encode() in one or ACCOUNT.encode() in one or PASSWORD.encode() in one
    ]


def test_a_probe_that_fails_leaves_the_others_to_ask(shared: Fleet) -> None:
    first, _ = proofs(shared.replica(), [live_answer(500)])
    with pytest.raises(Exception, match=r"credentials\.unclear"):
        asyncio.run(first.prove(REQUEST))
    other, asked = proofs(shared.replica(), [TEST])
    asyncio.run(other.prove(REQUEST))
    assert len(asked) == 1


# -- cassettes


def test_the_kth_request_gets_the_kth_recording_whichever_replica_answers(
    shared: Fleet, tmp_path: Path
) -> None:
    recorder = CassetteManager(CassetteOptions(tmp_path), "auto")
    for number in range(4):
        made = Answer(201, "CREATED", (), b"%d" % number, Source("live"))
        asyncio.run(recorder.record(REQUEST, made, None))
    recorder.close()
    options = CassetteOptions(tmp_path, repeats="error")
    replicas = [CassetteManager(options, "offline", state=shared.replica()) for _ in range(2)]
    got = [replicas[number % 2].lookup(REQUEST, None) for number in range(6)]
    assert [getattr(one, "body", b"missed") for one in got] == [b"0", b"1", b"2", b"3", b"missed", b"missed"]
    replicas[1].rewind("default")
    assert getattr(replicas[0].lookup(REQUEST, None), "body", b"") == b"0"
    unopened = CassetteManager(options, "offline", state=shared.replica())
    unopened.rewind(None)
    assert getattr(replicas[0].lookup(REQUEST, None), "body", b"") == b"0"
    for one in (*replicas, unopened):
        one.close()


# -- the Inbox, rows and sessions


def replica(url: str, **more: Any) -> tuple[Responder, Control]:
    responder = Responder.open(Settings(state=url, password=PASSWORD, **more))
    return responder, Control(responder)


def ask(control: Control, method: str, path: str, body: object = None) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    answer = control.handle(Request(method, "127.0.0.1", f"/ringback/{path}", (), content), "127.0.0.1")
    assert isinstance(answer, Answer)
    return answer.status, json.loads(answer.body)


def send(responder: Responder, text: str, user: str | None = None) -> Answer:
    return respond(
        responder, post("Messages", {**GOOD["Messages"], "Body": text}), Names("api.twilio.com"), user
    )


def bodies(responder: Responder) -> set[str]:
    return {entry.record().field("Body") for entry in responder.journal}


def test_the_inbox_of_every_replica_shows_all(store: Server) -> None:
    (one, first), (other, _) = replica(store.url), replica(store.url)
    send(one, "from one", "shop")
    send(other, "from the other")
    for responder in (one, other):
        wait_for(lambda responder=responder: bodies(responder) == {"from one", "from the other"})
    late, _ = replica(store.url)
    wait_for(lambda: bodies(late) == {"from one", "from the other"})
    entry = next(entry for entry in other.journal if entry.session == "shop")
    theirs = next(entry for entry in one.journal if entry.session == "shop")
    assert replace(entry.record(), number=0) == replace(theirs.record(), number=0)
    assert [entry.number for entry in late.journal] == [1, 2]
    assert ask(first, "DELETE", "requests?session=shop")[0] == 200
    wait_for(lambda: bodies(late) == {"from the other"})
    assert not [entry for entry in one.journal if TOKEN in repr(entry)]
    for responder in (one, other, late):
        responder.close()


def test_an_answer_is_held_until_the_others_can_hear_of_it(
    store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, _), (other, _) = replica(store.url), replica(store.url)
    add, sending = one.state._add_all, threading.Event()  # type: ignore[attr-defined] # it is a RedisState

    def late(batch: list[tuple[str, bytes]]) -> None:
        assert sending.wait(READY)
        add(batch)

    monkeypatch.setattr(one.state, "_add_all", late)

    async def main() -> list[Answer]:
        request = post("Messages", {**GOOD["Messages"], "Body": "held"})
        held = [one.handle(request, Names("api.twilio.com")) for _ in range(3)]
        assert not [answer for answer in held if isinstance(answer, Answer)]
        waiting = asyncio.ensure_future(asyncio.gather(*held))  # type: ignore[arg-type] # no Answer, see above
        await asyncio.sleep(0.05)
        assert not waiting.done()
        sending.set()
        return await waiting

    assert [answer.status for answer in asyncio.run(main())] == [201] * 3
    wait_for(lambda: len(other.journal) == 3)
    for responder in (one, other):
        responder.close()


def test_entries_of_every_source_travel(tmp_path: Path) -> None:
    responder = Responder.open(Settings(cassettes=tmp_path))
    send(responder, "text")
    [entry] = responder.journal
    again = Entry.unpacked(entry.packed(), 7)
    assert (again.number, replace(again.record(), number=1)) == (7, entry.record())
    assert again.source.headers() == entry.source.headers()
    journal = Journal()
    journal.take("request", b"of another version")
    journal.take("something", entry.packed())
    assert len(journal) == 0


def test_rows_and_sessions_that_are_set_reach_all_replicas(store: Server) -> None:
    row = {"resource": "Messages", "parameter": "To", "value": "+14105550101", "error": 21610}
    rows = {"magic": [row]}
    (one, first), (other, second) = replica(store.url), replica(store.url)
    assert ask(first, "PUT", "contract/rows?session=shop", rows) == (200, rows)
    wait_for(lambda: ask(second, "GET", "contract/rows?session=shop")[1] == rows)
    assert ask(first, "POST", "session", {"cassette": "cart", "user": "shop-test"})[0] == 200
    wait_for(lambda: other.cassette_of("shop-test") == "cart")
    late, third = replica(store.url)
    wait_for(lambda: ask(third, "GET", "contract/rows?session=shop")[1] == rows)
    assert ask(third, "POST", "reset")[0] == 200
    wait_for(lambda: ask(first, "GET", "contract/rows?session=shop")[1] == {})
    for responder in (one, other, late):
        responder.close()


# -- away, slow, wiped


def away(shared: Fleet) -> RedisState:
    made: RedisState = shared.replica()
    return made


def test_a_server_that_is_away(running: Server, shared: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringback.state_redis.PAUSE", 3600.0)
    state = away(shared)
    uses, budget = state.uses("shop"), state.budget(5)
    assert uses.take(b"k") == 0
    known, asked = proofs(state, [TEST, TEST])
    asyncio.run(known.prove(REQUEST))
    running.stop()
    try:
        assert [uses.take(b"k"), uses.take(b"k")] == [1, 2], "it counts on"
        assert not asyncio.run(budget.spend()), "nothing is forwarded that may be too much"
        assert "away" in budget.reason
        asyncio.run(known.prove(REQUEST))
        assert len(asked) == 1, "what is known here stays known"
        other = structs.replace(REQUEST, headers=())
        with pytest.raises(Exception, match="ambiguous"):
            asyncio.run(known.prove(other))
        fresh, probed = proofs(state, [LIVE])
        with pytest.raises(Exception, match=r"credentials\.live"):
            asyncio.run(fresh.prove(REQUEST))
        assert len(probed) == 1, "a proof of its own"
        assert not state.put("rows", "shop", {})
        assert len(shared.said) == 1
        assert "goes on alone" in shared.said[0]
    finally:
        running.start()


def test_a_server_that_comes_back(running: Server, shared: Fleet) -> None:
    state = away(shared)
    uses = state.uses("shop")
    for number in range(3):
        assert uses.take(b"k") == number
    running.stop()
    assert uses.take(b"k") == 3
    running.start()  # empty
    wait_for(lambda: not state.away or (uses.take(b"other"), False)[1])
    assert uses.take(b"k") == 4, "it does not fall behind"
    assert any("answers again" in line for line in shared.said)


def test_a_slow_server_is_left_alone(running: Server, shared: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringback.state_redis.TIME_LIMIT", 0.2)
    monkeypatch.setattr("ringback.state_redis.PAUSE", 3600.0)
    state = away(shared)
    uses = state.uses("shop")
    running.pause()
    try:
        assert [uses.take(b"k") for _ in range(3)] == [0, 1, 2]
        assert state.away
    finally:
        running.resume()


def test_a_wiped_server(store: Server, shared: Fleet) -> None:
    state, other = away(shared), away(shared)
    uses = state.uses("shop")
    for _ in range(3):
        uses.take(b"k")
    known, asked = proofs(state, [TEST])
    asyncio.run(known.prove(REQUEST))
    (one, control) = replica(store.url)
    send(one, "before")
    assert ask(control, "POST", "session", {"cassette": "cart", "user": "kept"})[0] == 200
    state._client.flushall()
    assert uses.take(b"k") == 3, "from what this replica knows"
    assert other.uses("shop").take(b"k") == 4, "and so for the others"
    asyncio.run(known.prove(REQUEST))
    assert len(asked) == 1
    wait_for(lambda: state._client.hlen("ringback:values") == 1)
    send(one, "after")
    late, _ = replica(store.url)
    wait_for(lambda: "after" in bodies(late))
    assert bodies(one) == {"before", "after"}
    wait_for(lambda: late.cassette_of("kept") == "cart")
    one.close()
    late.close()


def test_a_replica_starts_and_answers_without_the_server(tmp_path: Path) -> None:
    pytest.importorskip("redis", reason="the extra `fleet` is not installed")
    responder, control = replica(f"unix://{tmp_path}/nothing")
    assert send(responder, "hello").status == 201
    status, health = ask(control, "GET", "health")
    assert (status, health["shared_state"]) == (200, "away")
    status, told = ask(control, "POST", "session", {"cassette": "cart"})
    assert (status, "away" in told["error"]) == (503, True)
    responder.close()


# -- the address


def test_tls_and_a_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subjects = throwaway._subjects(("localhost", "127.0.0.1"))
    certificate = throwaway._authority(key, "localhost").add_extension(subjects, critical=False)
    signed = certificate.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    (tmp_path / "cert.pem").write_bytes(signed)
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    options = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem")
    with server(
        tmp_path, *options, "--tls-auth-clients", "no", "--requirepass", "right-one", tls=True
    ) as made:
        url = f"rediss://:right-one@127.0.0.1:{made.port}/0"
        responder = Responder.open(Settings(state=f"{url}?ssl_ca_certs={tmp_path}/cert.pem"))
        assert not responder.state.away, caplog.text
        responder.close()
        untrusted = Responder.open(Settings(state=url))
        assert untrusted.state.away, "a certificate that nobody trusts is refused"
        untrusted.close()
    assert "right-one" not in caplog.text


@pytest.fixture
def alone() -> Iterator[None]:
    """A host of this test's own, whose ports nobody else takes."""
    why = Network.refused()
    if why:
        pytest.skip(why)
    with Network.made() as network:
        network.add("alone")
        with network.inside("alone"):
            yield


@pytest.mark.usefixtures("alone")
def test_a_master_that_sentinels_replace(tmp_path: Path) -> None:
    redis = pytest.importorskip("redis", reason="the extra `fleet` is not installed")
    running = []
    config = tmp_path / "sentinel.conf"
    config.write_text(
        "sentinel monitor fleet 127.0.0.1 6379 1\nsentinel auth-pass fleet right-one\n"
        "sentinel down-after-milliseconds fleet 500\nsentinel failover-timeout fleet 2000\n"
    )

    def start(port: int, *options: str, first: tuple[str, ...] = ()) -> Any:
        command = [program(), *first, "--port", str(port), "--bind", "127.0.0.1", *options]
        running.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL))
        client = redis.Redis(port=port, password=None if first else "right-one")
        wait_for(lambda: answers(client))
        return client

    said: list[str] = []
    secured = ("--requirepass", "right-one", "--masterauth", "right-one", "--save", "")
    clients = []
    try:
        clients.append(start(6379, *secured))
        clients.append(start(6380, *secured, "--replicaof", "127.0.0.1 6379"))
        clients.append(start(26379, first=(str(config), "--sentinel")))
        _, second, sentinel = clients
        wait_for(lambda: second.info("replication")["master_link_status"] == "up")
        wait_for(lambda: len(sentinel.execute_command("SENTINEL", "REPLICAS", "fleet")) == 1)
        from ringback.state_redis import RedisState  # noqa: PLC0415 - an extra

        url = "sentinel://:right-one@127.0.0.1:26379,127.0.0.1:9/fleet/0"
        state = RedisState(url, password=PASSWORD, report=said.append)
        uses = state.uses("shop")
        assert [uses.take(b"k"), uses.take(b"k")] == [0, 1]
        wait_for(lambda: second.exists("ringback:{shop}:places"))
        running[0].kill()
        running[0].wait()
        wait_for(lambda: (uses.take(b"other"), second.info("replication")["role"] == "master")[1])
        wait_for(lambda: (uses.take(b"other"), not state.away)[1])
        assert uses.take(b"k") == 2
        assert "right-one" not in "".join(said)
        state.close()
    finally:
        for client in clients:
            client.close()
        for process in running:
            process.kill()
            process.wait()


def answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except Exception:  # noqa: BLE001 - it starts
        return False


@pytest.mark.parametrize(
    "text",
    [
        "http://host",
        "redis://",
        "redis://:secret@[",
        "secret",
        "sentinel://:secret@host:1",
        "sentinel:///m/0",
    ],
)
def test_addresses_that_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        load({"state": text}, {}, tmp_path)
    assert "secret" not in str(error.value)


def test_no_password_is_in_a_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("redis", reason="the extra `fleet` is not installed")
    settings = Settings(state="rediss://user:top-secret@127.0.0.1:9/0?ssl_ca_certs=/nothing/here")
    assert "top-secret" not in repr(settings)
    told = ""
    try:
        Responder.open(settings).close()
    except SetupError as error:
        told = str(error)
    assert "top-secret" not in told + caplog.text
    assert tmp_path.is_dir()


def test_a_wrong_password_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with server(tmp_path, "--requirepass", "right-one") as made:
        url = made.url.replace("unix://", "unix://:wrong-one@")
        Responder.open(Settings(state=url)).close()
        assert "password" in caplog.text
        assert "wrong-one" not in caplog.text
        caplog.clear()
        Responder.open(Settings(state=made.url.replace("unix://", "unix://:right-one@"))).close()
        assert caplog.text == ""


def test_nothing_is_imported_without_the_option() -> None:
    program = (
        "import sys; from ringback.responder import Responder; from ringback.settings import Settings; "
        "Responder.open(Settings(mode='auto')).close(); "
        "print([name for name in sys.modules if name.startswith('redis') or name == 'ringback.state_redis'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
