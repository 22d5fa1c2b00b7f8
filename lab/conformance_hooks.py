"""Who asks in a run of conformance.js, and what no answer to that user may have."""

import json
import os
import random
from urllib.parse import unquote_plus

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

with open(os.environ["CONFORMANCE_USER"], encoding="utf-8") as file:
    USER = json.load(file)

ADDRESSES = random.Random(1)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Adds examples that exist, so that what is another's is asked for and changed."""
    for path, methods in raw_schema["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                name = parameter["name"]
                known = USER["examples"].get(path.split("/")[-2] if name == "id" else name, [])
                parameter["examples"] = {str(number): {"value": value} for number, value in enumerate(known)}
    for name, fields in USER["bodies"].items():
        schema = raw_schema["components"]["schemas"].get(name, {"properties": {}})
        for field, value in fields.items():
            if field in schema["properties"]:
                schema["properties"][field]["examples"] = [value]


@schemathesis.hook
def before_call(context, case, kwargs):
    """Asks as the user, from an address of its own: ten wrong passwords of one are the last to be checked."""
    case.headers.update(USER["headers"])
    address = ".".join(str(ADDRESSES.randrange(1, 255)) for _ in range(3))
    case.headers.update({"X-Forwarded-Proto": "https", "X-Forwarded-For": f"10.{address}"})


# Texts about values that are wrong for reasons of which a schema cannot tell: bytes are no characters, an address has a
# checksum, an amount a minimum in the options. Whole numbers are not taken with a point.
BEYOND_SCHEMAS = (
    "not a payable regtest address",
    "not an account name: ",
    "not a password: ",
    "the new password is too short",
    "the reason is longer than 256 bytes",
    "is below threshold-min",
    "payee: no listener of this server",
    "name: expected 1 to 40 letters",
    "to: expected",
    "invalid type: floating point",
    "invalid IP address syntax",
    "expected an IP address",
)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Drops refusals of what only the schema allows."""
    is_refusal = isinstance(failure, RejectedPositiveData)
    return not (is_refusal and any(text in response.text for text in BEYOND_SCHEMAS))


@schemathesis.check
def tells_nothing_of_others(ctx, response, case):
    request = response.request
    body = request.body or b""
    asked = unquote_plus(request.url) + (body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body))
    told = response.content.decode("utf-8", "replace") + str(response.headers)
    found = [secret for secret in USER["secrets"] if secret in told and secret not in asked]
    assert not found, f"the answer tells {found}"


@schemathesis.check
def admits_only_the_operator(ctx, response, case):
    if "/api/v1/admin/" in response.request.url and not USER["isOperator"]:
        assert response.status_code in (401, 403, 405), f"an admin path answered {response.status_code}"
