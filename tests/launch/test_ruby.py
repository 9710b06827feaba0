"""The openssl.rb that `run` puts before Ruby's own. twilio-ruby is driven in tests/page, where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ringback.launch.hints import seen_runtimes, stopped_bypasses
from support.launching import needs
from support.servers import elsewhere

if TYPE_CHECKING:
    from pathlib import Path

    from support.launching import Launcher

# With a file of roots of the program's own, as twilio-ruby 4 connects: FILE HOST PORT...
OWN_FILE = """
require 'net/https'
file, *places = ARGV
places.each_slice(2) do |host, port|
  connection = Net::HTTP::Proxy(nil, nil, nil, nil).new(host, Integer(port))
  connection.use_ssl = true
  connection.verify_mode = OpenSSL::SSL::VERIFY_PEER
  connection.ca_file = file
  request = Net::HTTP::Post.new('/2010-04-01/Accounts/AC0/Messages.json')
  request.basic_auth('AC0', 'x')
  request.form_data = { 'Body' => 'hello' }
  puts connection.request(request).code
end
"""
# The same store for two connections: it gets the root once.
OWN_STORE = """
require 'net/http'
store = OpenSSL::X509::Store.new
2.times do
  connection = Net::HTTP.new('api.twilio.com', 443)
  connection.use_ssl = true
  connection.cert_store = store
  request = Net::HTTP::Post.new('/2010-04-01/Accounts/AC0/Messages.json')
  request.basic_auth('AC0', 'x')
  puts connection.request(request).code
end
"""


def test_a_programs_own_roots_and_ours_both_count(launcher: Launcher, tmp_path: Path) -> None:
    ruby = needs("ruby")
    with elsewhere(tmp_path) as other:
        assert other.certificate
        places = ["api.twilio.com", "443", "localhost", str(other.port)]
        launched = launcher()
        done = launched.run([ruby, "-W2", "-e", OWN_FILE, str(other.certificate), *places])
        assert (done.stdout, done.stderr) == ("201\n200\n", "")
        assert other.seen == ["POST /2010-04-01/Accounts/AC0/Messages.json HTTP/1.1"]
        assert len(launched.requests()) == 1


def test_a_host_that_the_programs_roots_do_not_vouch_for_is_refused(
    launcher: Launcher, tmp_path: Path
) -> None:
    ruby = needs("ruby")
    launched = launcher()
    with elsewhere(tmp_path) as other:
        root = launched.launch.directory / "root.pem"
        done = launched.run([ruby, "-e", OWN_FILE, str(root), "localhost", str(other.port)])
        assert done.returncode == 1
        assert "certificate verify failed" in done.stderr
        assert other.seen == []


def test_a_store_of_the_programs_own_is_extended(launcher: Launcher) -> None:
    done = launcher().run([needs("ruby"), "-e", OWN_STORE])
    assert done.stdout == "201\n201\n", done.stderr


@pytest.mark.parametrize("before", ["", "/not/there:{own}"])
def test_rubys_own_library_is_the_one_that_is_loaded(launcher: Launcher, before: str, tmp_path: Path) -> None:
    (tmp_path / "mine.rb").write_text("MINE = 1\n")
    code = "require 'openssl'; p require('openssl'), $LOADED_FEATURES.grep(/openssl\\.rb/).size, "
    code += "(begin; require 'mine'; rescue LoadError; false; end), $LOAD_PATH.grep(/launch-/)"
    launched = launcher({"RUBYLIB": before.format(own=tmp_path)} if before else {})
    done = launched.run([needs("ruby"), "-e", code])
    found = "true" if before else "false"
    # Twice: ours, and Ruby's own.
    assert done.stdout == f"false\n2\n{found}\n[]\n", done.stderr


def test_a_load_path_that_cannot_be_changed_is_left_as_it_is(launcher: Launcher) -> None:
    program = "$LOAD_PATH.freeze; require 'openssl'; puts OpenSSL::VERSION.size > 2, defined?(RINGBACK_ROOT)"
    done = launcher().run([needs("ruby"), "-e", program])
    assert (done.stdout, done.stderr) == ("true\nconstant\n", "")


PAST = """
require 'net/http'
require 'openssl'
begin
  %s
rescue SocketError => error
  puts error.message
end
"""


@pytest.mark.parametrize(
    "way",
    [
        "Net::HTTP.new('api.twilio.com', 443, nil).start",
        "TCPSocket.new('api.twilio.com', 443)",
        "Socket.tcp('API.Twilio.com.', 443, connect_timeout: 5)",
        "Socket.getaddrinfo('api.twilio.com', 443)",
        "Addrinfo.tcp('api.twilio.com', 443)",
    ],
)
def test_a_client_on_its_way_past_the_proxy_is_stopped(way: str, launcher: Launcher, tmp_path: Path) -> None:
    program = tmp_path / "past.rb"
    program.write_text(PAST % way)
    launched = launcher()
    done = launched.run([needs("ruby"), program, "now"])
    assert "Ringback stopped a connection to " in done.stdout, done.stderr
    (marker,) = stopped_bypasses(launched.launch.directory)
    assert (marker.runtime, marker.program) == ("ruby", f"{program} now")
    assert marker.host.lower().rstrip(".") == "api.twilio.com"
    assert [one.runtime for one in seen_runtimes(launched.launch.directory)] == ["ruby"]


@pytest.mark.parametrize("option", ["--disable-gems", "--disable-rubyopt"])
def test_without_gems_a_client_arrives_too(option: str, launcher: Launcher) -> None:
    launched = launcher()
    done = launched.run([needs("ruby"), option, "-e", OWN_STORE])
    assert (done.stdout, done.stderr) == ("201\n201\n", "")
