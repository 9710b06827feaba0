# ruff: noqa: ANN001, ANN201 - runs under Python 2.7 too
"""What the drivers share: the SDK's names, and how they tell what came of a request. Python 2.7 and newer."""

SID = "AC" + "0123456789abcdef" * 2
TOKEN = "a-test-token"
MOVED = {"from_": "+15005550006", "to": "+14105550100", "body": "moved"}

FIELDS = ("sid", "account_sid", "to", "from_", "body", "status", "phone_number", "voice_url", "uri")


def arguments(form):
    """The SDK's arguments for form fields."""
    return {snake(name): value for name, value in form.items()}


def snake(name):
    words = "".join("_" + char.lower() if char.isupper() else char for char in name).lstrip("_")
    return "from_" if words == "from" else words


def made(name, thing):
    """What the SDK made of a successful answer."""
    told = {field: getattr(thing, field) for field in FIELDS if hasattr(thing, field)}
    told.update(id=name, created=type(thing.date_created).__name__)
    return told


def raised(name, error):
    """What the SDK raised."""
    kind = type(error)
    return {
        "id": name,
        "exception": kind.__module__ + "." + kind.__name__,
        "status": getattr(error, "status", None),
        "code": getattr(error, "code", None),
        "message": getattr(error, "msg", str(error)),
    }
