# Python 2.7 and 3.5 must be able to read this file, so newer forms and annotations are out of the question:
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202, ANN204, ARG002, B905, INP001, N807, PLC0415
# ruff: noqa: PTH100, PTH118, PTH120, PTH123, SIM105, UP004, UP024, UP031, UP036
# mypy: ignore-errors
"""Runs at the start of every Python program that Ringback launches.

Ringback itself never imports this: it is copied into a launch's directory and found through PYTHONPATH. It
changes modules only when the program imports them, so a program without a network pays nothing:

* ssl (and pyOpenSSL): whatever roots a client loads, Ringback's is loaded too. Old SDKs read no CA variable.
* httplib2: twilio 3 to 5 say that they want no proxy; they get the environment's.
* aiohttp: the SDK's asynchronous client ignores the proxy variables unless it is told to trust them.
* socket, uvloop, pycares: a client that looks up Twilio's address is on its way past the proxy. It is
  stopped there.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LAUNCH = os.path.dirname(HERE)
ROOT = os.path.join(LAUNCH, "root.pem")
BUNDLE = os.path.join(LAUNCH, "bundle.pem")
DOMAIN = "twilio.com"


def leave_mark(kind, text):
    """Leave a file that says what happened in this process; a launch reads them when it ends."""
    try:
        with open(os.path.join(LAUNCH, "%s-python-%d" % (kind, os.getpid())), "w") as mark:
            mark.write(text)
    except (IOError, OSError):
        pass  # the launch is over, or this user may not write to its directory: nobody is there to read it


def is_twilio(host):
    """Report whether `host` (text, bytes or None) is twilio.com or a name below it."""
    if isinstance(host, bytes) and not isinstance(host, str):
        host = host.decode("ascii", "replace")
    name = (host or "").lower().rstrip(".")
    return name == DOMAIN or name.endswith("." + DOMAIN)


def read_root():
    """Our root as text, or None where this user may not read it."""
    try:
        with open(ROOT, "rb") as file:
            return file.read().decode("ascii")
    except (IOError, OSError):
        return None


def patch_ssl(module):
    """Load our root wherever a context loads its roots."""
    context = getattr(module, "SSLContext", None)
    if context is None:
        return  # Python before 2.7.9 verifies nothing
    load = context.load_verify_locations
    load_default = context.load_default_certs
    root = read_root()  # now: a program may outlive the launch's directory
    if root is None:
        return

    def load_verify_locations(self, *args, **kwargs):
        load(self, *args, **kwargs)
        load(self, None, None, root)

    def load_default_certs(self, *args, **kwargs):
        load_default(self, *args, **kwargs)
        load(self, None, None, root)

    context.load_verify_locations = load_verify_locations
    context.load_default_certs = load_default_certs


def patch_pyopenssl(module):
    """The same for pyOpenSSL, which old versions of requests prefer where it is installed."""
    load = module.Context.load_verify_locations
    load_default = module.Context.set_default_verify_paths

    def load_verify_locations(self, *args, **kwargs):
        load(self, *args, **kwargs)
        load(self, ROOT)

    def set_default_verify_paths(self):
        load_default(self)
        load(self, ROOT)

    module.Context.load_verify_locations = load_verify_locations
    module.Context.set_default_verify_paths = set_default_verify_paths


def patch_httplib2(module):
    """Take the environment's proxy where a client says None, and a bundle that holds our root."""
    original = module.Http.__init__
    names = ("cache", "timeout", "proxy_info", "ca_certs")

    # Called so since 0.8.
    look_up = getattr(module, "proxy_info_from_environment", None) or module.ProxyInfo.from_environment

    def from_environment(*args):
        info = look_up(*args)
        if info is not None:
            info.proxy_rdns = True  # older versions look the name up themselves and ask for an address
        return info

    def __init__(self, *args, **kwargs):
        kwargs.update(zip(names, args))
        if kwargs.get("proxy_info") is None:
            kwargs["proxy_info"] = from_environment
        kwargs["ca_certs"] = BUNDLE
        first = [kwargs.pop(name, None) for name in names]
        original(self, *(first + list(args[len(names) :])), **kwargs)

    module.Http.__init__ = __init__


def patch_aiohttp(module):
    """Trust the proxy variables unless the program says otherwise."""
    original = module.ClientSession.__init__

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("trust_env", True)
        original(self, *args, **kwargs)

    module.ClientSession.__init__ = __init__


def stop(host):
    """Refuse to look up one of Twilio's hosts: through the proxy nobody needs their address."""
    if not is_twilio(host):
        return
    if isinstance(host, bytes) and not isinstance(host, str):
        host = host.decode("ascii", "replace")
    known = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    program = " ".join(getattr(sys, "argv", None) or []).replace("\n", " ")
    leave_mark("bypassed", "%s\n%s\n%s\n" % (host, program, "" if known else "HTTPS_PROXY is gone"))
    import socket

    raise socket.gaierror(
        socket.EAI_NONAME,
        "Ringback stopped a connection to %s that would have gone past its proxy: "
        "this client does not use HTTPS_PROXY" % host,
    )


def guarded(original, place):
    """`original`, which is not called for one of Twilio's hosts: its argument number `place`, or `host`."""

    def look_up(*args, **kwargs):
        stop(args[place] if len(args) > place else kwargs.get("host"))
        return original(*args, **kwargs)

    return look_up


def audit(event, args):
    """Python 3.8 and newer tell here of every look-up, whoever wraps the module's functions."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        stop(args[0])


def patch_socket(module):
    """The same for older Pythons, and for connections by name, which look it up unheard."""
    if not hasattr(sys, "addaudithook"):
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
            setattr(module, name, guarded(getattr(module, name), 0))

    def by_name(original):
        def connect(self, address):
            if isinstance(address, tuple) and address:
                stop(address[0])
            return original(self, address)

        return connect

    if sys.version_info[0] > 2:  # in Python 2 each socket has methods of its own
        for name in ("connect", "connect_ex"):
            setattr(module.socket, name, by_name(getattr(module.socket, name)))


def patch_uvloop(module):
    """The same for an event loop that looks names up by itself."""
    module.Loop.create_connection = guarded(module.Loop.create_connection, 2)
    module.Loop.getaddrinfo = guarded(module.Loop.getaddrinfo, 1)


def patch_pycares(module):
    """The same for the resolver that aiohttp's `speedups` and gevent bring."""
    for name in ("getaddrinfo", "gethostbyname", "query"):
        original = getattr(module.Channel, name, None)
        if original is not None:
            setattr(module.Channel, name, guarded(original, 1))


PATCHES = {
    "ssl": patch_ssl,
    "OpenSSL.SSL": patch_pyopenssl,
    "httplib2": patch_httplib2,
    "aiohttp": patch_aiohttp,
    "socket": patch_socket,
    "uvloop": patch_uvloop,
    "pycares": patch_pycares,
}


class Finder(object):
    """Patches a module right after it has been loaded by whoever would have loaded it."""

    def __init__(self):
        self.waiting = dict(PATCHES)

    def find_spec(self, name, path=None, target=None):
        """Python 3: let the others find it and hook the loader's last step."""
        if name not in self.waiting:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                break
        else:
            return None
        patch = self.waiting.pop(name)
        execute = getattr(spec.loader, "exec_module", None)
        if execute is None:
            return spec

        def exec_module(module):
            execute(module)
            patch(module)

        try:
            spec.loader.exec_module = exec_module
        except (AttributeError, TypeError):
            pass  # a loader that cannot be changed belongs to a frozen program
        return spec

    def find_module(self, name, path=None):
        """Python 2."""
        if sys.version_info[0] > 2 or name not in self.waiting:
            return None
        return self

    def load_module(self, name):
        """Python 2: import it again without this hook."""
        import importlib

        patch = self.waiting.pop(name)
        module = importlib.import_module(name)
        patch(module)
        return module


def install():
    """Patch what is there and wait for the rest; of a launch inside a launch the inner one counts."""
    if hasattr(sys, "ringback_launch"):
        return
    sys.ringback_launch = LAUNCH
    if hasattr(sys, "addaudithook"):
        sys.addaudithook(audit)
    finder = Finder()
    for name, patch in PATCHES.items():
        if name in sys.modules:
            del finder.waiting[name]
            patch(sys.modules[name])
    sys.meta_path.insert(0, finder)


def run_next():
    """Run the sitecustomize that this one hides."""
    others = [entry for entry in sys.path if os.path.abspath(entry or ".") != HERE]
    if sys.version_info[0] > 2:
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec

        spec = PathFinder.find_spec("sitecustomize", others)
        if spec is None or spec.loader is None:
            return
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)
    else:
        import imp

        try:
            found = imp.find_module("sitecustomize", others)
        except ImportError:
            return
        try:
            imp.load_module("sitecustomize", *found)
        finally:
            if found[0]:
                found[0].close()


if (
    __name__ != "ringback_sitecustomize"
):  # so called by Ringback's pytest plugin, in a program that runs already
    leave_mark("started", sys.version.split()[0])
    install()
    run_next()
