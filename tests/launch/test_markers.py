from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ringback.launch.hints import (
    CLEARED,
    NAMES,
    ProcessMarker,
    bypass_hint,
    on_trust,
    seen_runtimes,
    stopped_bypasses,
)

if TYPE_CHECKING:
    from pathlib import Path


def _started(directory: Path, runtime: str, version: str = "1.2", pid: int = 7) -> None:
    (directory / f"started-{runtime}-{pid}").write_text(version)


def test_what_started_and_what_was_stopped(tmp_path: Path) -> None:
    _started(tmp_path, "python", "3.12.1", 30)
    _started(tmp_path, "node", "v20.1.0\n", 4)
    (tmp_path / "bypassed-python-30").write_text("api.twilio.com\nsend.py --now\n")
    assert seen_runtimes(tmp_path) == (
        ProcessMarker("node", 4, "v20.1.0"),
        ProcessMarker("python", 30, "3.12.1"),
    )
    assert stopped_bypasses(tmp_path) == (
        ProcessMarker("python", 30, host="api.twilio.com", program="send.py --now"),
    )


@pytest.mark.parametrize(
    "command, said",
    [
        ("python3.11 -E send.py", "`python3.11 -E` starts Python without"),
        ("/usr/bin/python -I -m pytest", "`python -I` starts Python without"),
        ("python -BIu send.py", "`python -I`"),
        ("python3 -X utf8 -E x.py", "`python3 -E` starts Python without"),
        ("python3 -Xutf8 -W ignore -Es x.py", "`python3 -E` starts Python without"),
        ("python3 --check-hash-based-pycs never -I x.py", "`python3 -I` starts Python without"),
        ("go test ./...", "-count=1"),
        (
            "curl -s --noproxy * https://api.twilio.com/",
            "`curl --noproxy` goes past the proxy: leave it out.",
        ),
        ("curl https://api.twilio.com/", "`curl` uses HTTPS_PROXY unless `--noproxy`"),
        ("ruby send.rb", "`ruby`: Net::HTTP goes past the proxy where"),
        ("bundle exec rspec", "`rspec`: Net::HTTP goes"),
        ("php -n send.php", "`php -n` reads no ini file"),
        ("php send.php", "`php`: streams use a proxy only where their context names it"),
        ("vendor/bin/phpunit", "`phpunit`: streams use"),
        ("mvn -q test", "`mvn` started no JVM"),
        ("gradle test", "`gradle --stop`"),
        ("env -i ./send", "`env -i` clears"),
        ("docker run app", "container does not inherit"),
        ("sudo -u app ./send", "`sudo`: sudo clears"),
        ("tox -e py", "pass_env"),
        ("dotnet Send.dll", "needs its `UseProxy`"),
        ("mono send.exe", "cert-sync --quiet --user"),
        ("perl send.pl", "`perl`: HTTP::Tiny, LWP and Mojo go past"),
        ("cargo test", "`cargo`: reqwest goes past the proxy with `no_proxy()`"),
        ("mix test", "`mix`: Erlang's :httpc reads no variable"),
        ("Rscript send.R", "`Rscript`: httr and curl trust the system's roots alone"),
        ("deno run send.ts", "`deno`: npm packages"),
        ("bun test", "`bun`: superagent and agents"),
        ("wget --no-proxy https://api.twilio.com/", "`wget --no-proxy` goes past the proxy"),
        ("wget https://api.twilio.com/", "`wget` uses https_proxy unless"),
        ("node --permission send.js", "`node --permission` may not read Ringback's preload"),
        ("./send", "No Python, Node.js, Java or Ruby was seen to start"),
    ],
)
@pytest.mark.parametrize("shell", [False, True])
def test_the_command_itself_gives_the_cause_away(
    command: str, said: str, shell: bool, tmp_path: Path
) -> None:
    words = ["sh", "-c", command] if shell else command.split()
    assert said in bypass_hint(words, tmp_path)


@pytest.mark.parametrize(
    "command",
    ["python -c -E", "python -m tool -I", "python send.py -E", "python -W -E x.py", "python -XEI x.py"],
)
def test_a_programs_own_options_are_not_pythons(command: str, tmp_path: Path) -> None:
    assert "sitecustomize" not in bypass_hint(command.split(), tmp_path)


@pytest.mark.parametrize(
    "runtime, said",
    [
        ("python", "Python 1.2 started and asked for no Twilio host: it sent nothing, a mock (responses"),
        ("node", "Node.js 1.2 started and asked for no Twilio host: it sent nothing, a mock (nock"),
        ("java", "Java 1.2 started and asked for no Twilio host: it sent nothing, a mock (WireMock"),
    ],
)
def test_a_runtime_that_started_is_named_with_its_mocks(runtime: str, said: str, tmp_path: Path) -> None:
    _started(tmp_path, runtime)
    assert said in bypass_hint(["make", "test"], tmp_path)


def test_a_stopped_client_comes_first(tmp_path: Path) -> None:
    _started(tmp_path, "node")
    (tmp_path / "bypassed-node-7").write_text("api.twilio.com\nindex.js\n")
    said = bypass_hint(["docker", "run"], tmp_path).splitlines()
    assert said[0].startswith("Node.js (index.js) was on its way to api.twilio.com past the proxy")
    assert "docker" in said[1]


def test_java_options_that_win(tmp_path: Path) -> None:
    _started(tmp_path, "java")
    environment = {"_JAVA_OPTIONS": "-Dhttps.proxyHost=other"}
    assert "_JAVA_OPTIONS sets a proxy" in bypass_hint(["java", "-jar", "a.jar"], tmp_path, environment)


def test_a_python_that_was_seen_to_start_was_not_kept_from_its_shim(tmp_path: Path) -> None:
    _started(tmp_path, "python")
    assert "sitecustomize" not in bypass_hint(["python", "-E", "send.py"], tmp_path)


@pytest.mark.parametrize("flags", ["-B", "-u", "--version", "-"])
def test_other_options_of_python_keep_nothing_from_it(flags: str, tmp_path: Path) -> None:
    assert "sitecustomize" not in bypass_hint(["python", flags, "send.py"], tmp_path)


def test_a_jvm_that_was_seen_is_no_daemon_of_another_day(tmp_path: Path) -> None:
    _started(tmp_path, "java")
    assert "started no JVM" not in bypass_hint(["mvn", "test"], tmp_path)


@pytest.mark.parametrize("shell", [False, True])
@pytest.mark.parametrize("line", ["#!/usr/bin/python3 -Es", "#!/usr/bin/env -S python3 -E"])
def test_a_script_s_first_line_is_a_command_too(line: str, shell: bool, tmp_path: Path) -> None:
    script = tmp_path / "send"
    script.write_text(f"{line}\n")
    script.chmod(0o755)
    words = ["sh", "-c", f"{script} --now"] if shell else [str(script)]
    assert "`python3 -E` starts Python without" in bypass_hint(words, tmp_path)
    assert "`python3 -E` starts" in bypass_hint(["send"], tmp_path, {"PATH": str(tmp_path)})


def test_a_script_that_calls_itself_its_interpreter_is_read_once(tmp_path: Path) -> None:
    script = tmp_path / "send"
    script.write_text(f"#!{script}\n")
    assert "No Python" in bypass_hint([str(script)], tmp_path)


def test_a_java_image_that_no_agent_can_be_loaded_into(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "app").write_text("#!/bin/sh\n")
    (tmp_path / "release").write_text('JAVA_VERSION="21"\nMODULES="java.base java.net.http"\n')
    words = ["sh", "-c", f"{tmp_path}/bin/app --now"]
    assert "belongs to a Java image without java.instrument" in bypass_hint(words, tmp_path)
    (tmp_path / "release").write_text('MODULES="java.base java.instrument"\n')
    assert "java.instrument" not in bypass_hint(words, tmp_path)


@pytest.mark.parametrize("runtime", NAMES)
def test_every_runtime_that_leaves_markers_has_a_hint(runtime: str, tmp_path: Path) -> None:
    _started(tmp_path, runtime)
    assert f"{NAMES[runtime]} 1.2 started and asked for no Twilio host: " in bypass_hint(["make"], tmp_path)


def test_an_environment_that_the_program_cleared_is_the_cause(tmp_path: Path) -> None:
    (tmp_path / "bypassed-python-7").write_text(f"api.twilio.com\ntest.py\n{CLEARED}\n")
    (said,) = bypass_hint(["python", "test.py"], tmp_path).splitlines()
    assert "its environment has no HTTPS_PROXY any more" in said
    assert "clear=True" in said


def test_a_stopped_client_s_cause_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "bypassed-ruby-7").write_text("api.twilio.com\nsend.rb\n")
    (said,) = bypass_hint(["ruby", "send.rb"], tmp_path).splitlines()
    assert said.startswith("Ruby (send.rb) was on its way to api.twilio.com")


@pytest.mark.parametrize("command", [["sh", "{}"], ["{}"], ["sh", "-c", "{}"], ["bash", "-e", "{}"]])
def test_a_script_s_options_of_curl_and_wget_are_found(command: list[str], tmp_path: Path) -> None:
    script = tmp_path / "send.sh"
    script.write_text(
        "#!/bin/sh\ncurl -s \\\n  --noproxy '*' https://api.twilio.com/ | wc\nwget -q --no-config x\n"
    )
    words = [word.format(script) for word in command]
    said = bypass_hint(words, tmp_path)
    assert "`curl --noproxy` goes past the proxy" in said
    assert "`wget --no-config` goes past the proxy, or without its CA" in said


@pytest.mark.parametrize(
    "command, seen, said",
    [
        ("python3 send.py", [], "pycurl.CAINFO"),
        ("make test", ["python"], "pycurl.CAINFO"),
        ("bundle exec rspec", [], "Typhoeus takes `cainfo"),
        ("perl send.pl", [], "CURLOPT_CAINFO"),
        ("Rscript send.R", [], "httr::set_config"),
        ("mix test", [], "`cacertfile: System.get_env"),
        ("cargo run", [], "rustls-tls-native-roots"),
        ("curl --cacert mine.pem https://api.twilio.com/", [], "`curl --cacert`"),
        ("php send.php", [], "CURLOPT_CAINFO"),
        ("./send", [], "update-ca-certificates"),
    ],
)
def test_a_client_that_distrusts_the_ca_gets_its_language_s_line(
    command: str, seen: list[str], said: str
) -> None:
    assert said in on_trust(command.split(), seen)


def test_mono_has_its_own_store() -> None:
    assert on_trust(["mono", "send.exe"]).startswith("`mono` has a trust store of its own")
    assert "update-ca-certificates" not in on_trust(["mono", "send.exe"])


def test_a_long_command_line_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    command = ["program", *["word"] * 200, "last"]
    (tmp_path / "bypassed-ruby-1").write_text(f"api.twilio.com\n{' '.join(command)}\n\n")
    (line, *_) = bypass_hint(command, tmp_path).splitlines()
    assert line.startswith("Ruby (program word ")
    assert " word last) was on its way to api.twilio.com" in line
    assert "…" in line


def test_a_runtime_whose_shim_started_is_not_told_of_clients_that_it_stops(tmp_path: Path) -> None:
    _started(tmp_path, "ruby")
    (line,) = bypass_hint(["bundle", "exec", "rspec"], tmp_path).splitlines()
    assert line.startswith(
        "Ruby 1.2 started and asked for no Twilio host: it sent nothing, a mock (WebMock, VCR)"
    )
