"""Launcher and supervisor of `ringback run --witness`: they see name queries for Twilio's hosts.

`launch DESCRIPTOR COMMAND [ARGUMENT]...` puts a seccomp filter on this process, hands its
listener to the supervisor by the socket DESCRIPTOR, and becomes COMMAND. The filter stops the system calls
that can be a name query, by their lengths; everything else runs as ever.

`supervise DESCRIPTOR REPORTS` answers for these calls: a query for one of Twilio's hosts fails, and its
process and host are reported by the socket REPORTS; anything else goes on. It ends when no process with the
filter is left, also after Ringback's end: without it, the calls of what is left would fail.
"""

# ruff: noqa: INP001 - a program that is run by its path

from __future__ import annotations

import errno
import os
import platform
import re
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform.startswith("linux"):
    import fcntl

# <linux/audit.h>, <asm/unistd.h>: the architecture; seccomp, sendto, sendmmsg, write.
MACHINES = {"x86_64": (0xC000003E, 317, 44, 307, 1), "aarch64": (0xC00000B7, 277, 206, 269, 64)}
LOAD, EQUAL, ABOVE, AT_LEAST, RETURN = 0x20, 0x15, 0x25, 0x35, 0x06  # <linux/filter.h>
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000  # <linux/seccomp.h>, from here on
FILTER, SPECULATE, LISTENER, KILLABLE = 1, 1 << 2, 1 << 3, 1 << 5
RECEIVE, ANSWER = 0xC0502100, 0xC0182101
CONTINUE = 1
PR_SET_NO_NEW_PRIVS = 38  # <linux/prctl.h>
NUMBER, ARCHITECTURE, FIRST, SECOND, THIRD = 0, 4, 16, 24, 32  # places in struct seccomp_data
# A query has 12 bytes before the name, 2 around and 4 behind it, and 11 more where it says what it can take.
SHORTEST, LONGEST = 28, 96
LENGTHS = tuple(
    len(host) + 18 + more for host in ("api.twilio.com", "lookups.twilio.com") for more in (0, 11)
)
MOST = 4  # messages of one sendmmsg; a resolver sends two
LARGEST = 512  # bytes of a message; the filter compares the lower half of a length alone
DOMAIN = "twilio.com"
ODD = re.compile(r"[^a-z0-9._-]")  # in a host that is reported: a name may hold any byte, also ends of lines
WAIT = 5.0  # seconds in which a report is answered


def program(architecture: int, sendto: int, sendmmsg: int, write: int) -> bytes:
    """Assemble the filter: instructions of an operation, its operand and where to go on if so, if not."""
    labels: dict[str, int] = {}
    code: list[tuple[int, int, str, str]] = []

    def part(label: str, *instructions: tuple[int, int, str, str]) -> None:
        labels[label] = len(code)
        code.extend(instructions)

    part(
        "begin",
        (LOAD, ARCHITECTURE, "", ""),
        (EQUAL, architecture, "", "allow"),
        (LOAD, NUMBER, "", ""),
        (EQUAL, write, "write", ""),
        (EQUAL, sendto, "sendto", ""),
        (EQUAL, sendmmsg, "", "allow"),
        (LOAD, THIRD, "", ""),
        (ABOVE, MOST, "allow", "notify"),
    )
    part(
        "sendto",
        (LOAD, THIRD + 4, "", ""),
        (EQUAL, 0, "", "allow"),
        (LOAD, THIRD, "", ""),
        (AT_LEAST, SHORTEST, "", "allow"),
        (ABOVE, LONGEST, "allow", "notify"),
    )
    # Go's resolver writes its queries as others write files: these lengths alone, not to stdout or stderr.
    part("write", (LOAD, FIRST, "", ""), (ABOVE, 2, "", "allow"), (LOAD, THIRD, "", ""))
    code.extend((EQUAL, length, "notify", "") for length in LENGTHS)
    part("allow", (RETURN, ALLOW, "", ""))
    part("notify", (RETURN, NOTIFY, "", ""))

    def distance(place: int, label: str) -> int:
        return labels[label] - place - 1 if label else 0

    return b"".join(
        struct.pack("=HBBI", operation, distance(place, yes), distance(place, no), operand)
        for place, (operation, operand, yes, no) in enumerate(code)
    )


def install() -> int:
    """Put the filter on this process and return its listener.

    Without CAP_SYS_ADMIN the system demands that this process and all below it never gain privileges.

    Raises:
        OSError: The system refuses it.
    """
    import ctypes  # noqa: PLC0415 - the supervisor needs none

    if platform.machine() not in MACHINES:
        raise OSError(errno.ENOSYS, f"not known for {platform.machine()}")
    architecture, seccomp, *calls = MACHINES[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    code = program(architecture, *calls)
    words = ctypes.create_string_buffer(code, len(code))
    filter_ = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(words)))

    def call() -> int:
        listener = -1
        for flags in (LISTENER | SPECULATE | KILLABLE, LISTENER | SPECULATE):  # Linux 5.19 and older
            listener = int(libc.syscall(seccomp, FILTER, flags, filter_))
            if listener >= 0 or ctypes.get_errno() != errno.EINVAL:
                break
        return listener

    listener = call()
    if listener < 0 and ctypes.get_errno() == errno.EACCES:
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        listener = call()
    if listener < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return listener


def launch(descriptor: int, command: list[str]) -> int:
    """Become the command, with the filter where the system allows it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with socket.socket(fileno=descriptor) as supervisor:
        try:
            listener = install()
        except OSError as error:
            why = "it is inside another one" if error.errno == errno.EBUSY else str(error.strerror)
            supervisor.send(why.encode())
        else:
            socket.send_fds(supervisor, [b"\0"], [listener])
            os.close(listener)
    for name in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a command would inherit that
        signal.signal(name, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment())  # noqa: S606 - what was asked for
    except OSError as error:
        sys.stderr.write(f"ringback: {command[0]}: cannot be run: {error.strerror}\n")
        return 126


def environment() -> dict[bytes, bytes]:
    """Read the environment that this program was given: Python adds LC_CTYPE to it in the locale C."""
    pairs = [line.partition(b"=") for line in Path("/proc/self/environ").read_bytes().split(b"\0") if line]
    return {name: value for name, _, value in pairs}


def supervise(descriptor: int, reports: int) -> int:
    """Answer for the calls that the filter stopped, until no process has it any more."""
    with socket.socket(fileno=descriptor) as launcher, socket.socket(fileno=reports) as ringback:
        ringback.settimeout(WAIT)
        message, listeners, _, _ = socket.recv_fds(launcher, 256, 1)
        if not listeners:
            report(ringback, b"refused " + message if message else b"ended")
            return 1
        (listener,) = listeners
        watched = select.poll()
        watched.register(listener, select.POLLIN)
        while not watched.poll()[0][1] & (select.POLLHUP | select.POLLERR):
            answer(listener, ringback)
        with suppress(OSError):  # Ringback has ended
            ringback.send(b"ended\n")
    return 0


def answer(listener: int, ringback: socket.socket) -> None:
    """Answer for one call."""
    notification = bytearray(80)
    try:
        fcntl.ioctl(listener, RECEIVE, notification)
    except OSError:  # its process was ended meanwhile
        return
    ident, task, _, number, _, _, *arguments = struct.unpack("=QIIiIQ6Q", notification)
    error = 0
    with suppress(Exception):  # not this user's, or it was ended; wrong addresses are the system's affair
        hosts = [host for data in sent(task, number, arguments) if (host := queried(data))]
        if hosts and is_socket(task, arguments[0]):
            report(ringback, f"{process_of(task)} {hosts[0]}".encode())
            error = errno.ECONNREFUSED
    with suppress(OSError):  # as above
        fcntl.ioctl(listener, ANSWER, struct.pack("=QqiI", ident, 0, -error, 0 if error else CONTINUE))


def sent(task: int, number: int, arguments: list[int]) -> list[bytes]:
    """Read from the process what it sends."""
    _, _, _, sendmmsg, _ = MACHINES[platform.machine()]
    with Path(f"/proc/{task}/mem").open("rb", buffering=0) as memory:
        file = memory.fileno()
        if number != sendmmsg:
            return [os.pread(file, min(arguments[2], LARGEST), arguments[1])]
        found = []
        for place in range(arguments[2]):
            (vector,) = struct.unpack_from("=Q", os.pread(file, 24, arguments[1] + 64 * place), 16)
            start, length = struct.unpack("=QQ", os.pread(file, 16, vector))
            found.append(os.pread(file, min(length, LARGEST), start))
        return found


def queried(data: bytes) -> str:
    """Return the host of Twilio's that a DNS query asks for, as it can be reported, or an empty string."""
    if len(data) < SHORTEST or data[2] & 0x80 or data[4:6] != b"\0\1":  # an answer, or not one question
        return ""
    place, labels = 12, []
    while place < len(data) and data[place]:
        labels.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    if place >= len(data):
        return ""
    host = b".".join(labels).decode("ascii", "replace").lower()
    return ODD.sub("?", host) if host == DOMAIN or host.endswith("." + DOMAIN) else ""


def is_socket(task: int, descriptor: int) -> bool:
    """Report whether a process has a socket there, not a file."""
    return str(Path(f"/proc/{task}/fd/{descriptor}").readlink()).startswith("socket:")


def process_of(task: int) -> int:
    """Return the process of a thread."""
    with Path(f"/proc/{task}/status").open(encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Tgid:"))


def report(ringback: socket.socket, line: bytes) -> None:
    """Report a line and wait until it is read: until then the process stands still, and can be looked at."""
    with suppress(OSError):  # Ringback has ended
        ringback.send(line + b"\n")
        ringback.recv(1)


if __name__ == "__main__":
    if sys.argv[1] == "launch":
        sys.exit(launch(int(sys.argv[2]), sys.argv[3:]))
    sys.exit(supervise(int(sys.argv[2]), int(sys.argv[3])))
