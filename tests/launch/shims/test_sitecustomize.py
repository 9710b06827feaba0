"""What runs at the start of every Python program that Ringback launches; more clients are in test_python."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import certifi
import pytest

from ringback.launch.hints import seen_runtimes, stopped_bypasses

if TYPE_CHECKING:
    from pathlib import Path

    from support.launching import Launched, Launcher

LOOK_UP = "import socket; socket.{name}({host!r}{port})"
NAMES = [("getaddrinfo", ", 443"), ("gethostbyname", ""), ("gethostbyname_ex", "")]


def python(launched: Launched, code: str, *before: str, **more: str) -> str:
    done = launched.run([sys.executable, *before, "-c", code], more=more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name, port", NAMES)
@pytest.mark.parametrize("host", ["api.twilio.com", "API.Twilio.com.", b"lookups.twilio.com", "twilio.com"])
def test_looking_up_twilio_s_address_is_stopped_and_told(
    name: str, port: str, host: str | bytes, launcher: Launcher
) -> None:
    launched = launcher()
    done = launched.run([sys.executable, "-c", LOOK_UP.format(name=name, host=host, port=port)])
    assert done.returncode == 1
    assert "Ringback stopped a connection to" in done.stderr
    (mark,) = stopped_bypasses(launched.launch.directory)
    assert (host if isinstance(host, str) else host.decode()) in str(mark)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_other_hosts_are_looked_up_as_ever(host: str, launcher: Launcher) -> None:
    launched = launcher()
    for name, port in NAMES:
        python(launched, LOOK_UP.format(name=name, host=host, port=port))
    python(launched, "import socket; socket.getaddrinfo(None, 443)")
    assert stopped_bypasses(launched.launch.directory) == ()


def test_a_name_that_only_looks_like_twilio_s_is_nobody_s_business(launcher: Launcher) -> None:
    names = ("nottwilio.com", "twilio.com.example", "", None)
    code = f"import sitecustomize as s; print([s.is_twilio(name) for name in {names}])"
    assert python(launcher(), code) == "[False, False, False, False]"


def test_whatever_roots_a_client_loads_ours_are_there_too(launcher: Launcher) -> None:
    launched = launcher()
    client = "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)"
    loads = (
        f"{client}; c.load_verify_locations({certifi.where()!r})",
        f"{client}; c.load_default_certs()",
        "c = ssl.create_default_context()",
    )
    root = launched.launch.directory / "root.pem"
    for how in loads:
        read = f"ssl.PEM_cert_to_DER_cert(open({str(root)!r}).read())"
        assert python(launched, f"import ssl; {how}; print({read} in c.get_ca_certs(True))") == "True", how


def test_a_sitecustomize_of_the_user_s_still_runs(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.mine = 'ran'")
    assert python(launcher({"PYTHONPATH": str(tmp_path)}), "print(mine)") == "ran"


def test_a_program_without_a_network_imports_nothing_more(launcher: Launcher) -> None:
    code = "import sys; print({'ssl', 'socket', 'aiohttp'} & set(sys.modules))"
    assert python(launcher(), code) == "set()"


def test_each_process_leaves_its_mark(launcher: Launcher) -> None:
    launched = launcher()
    for _ in range(2):
        python(launched, "pass")
    marks = seen_runtimes(launched.launch.directory)
    assert [mark.runtime for mark in marks] == ["python"] * len(marks)
    assert len(list(launched.launch.directory.glob("started-python-*"))) == 2


def test_a_directory_that_is_gone_disturbs_no_program(launcher: Launcher, tmp_path: Path) -> None:
    launched = launcher()
    (tmp_path / "python").mkdir()
    text = (launched.launch.directory / "python" / "sitecustomize.py").read_text()
    copy = tmp_path / "python" / "sitecustomize.py"
    copy.write_text(text.replace("LAUNCH = os.path.dirname(HERE)", "LAUNCH = '/not/there'"))
    assert "'/not/there'" in copy.read_text()
    assert python(launched, "print('fine')", PYTHONPATH=str(copy.parent)) == "fine"
