"""What every function of the shop shares. No rule of the shop is in here.

A function's `handler.py`, in short:

    from functions.shared import Answer, Api, DatabaseSettings, NotFound, TokenSettings, create_app as build, current
    from functions.shared import Body, Query, setting
    from . import store

    @dataclass(frozen=True, kw_only=True)
    class CartSettings(DatabaseSettings, TokenSettings, ServiceKeySettings):
        cart_ttl_seconds: int = setting("A cart nobody touches for this long is emptied.", default=1_209_600)

    api = Api("cart", title="Carts", migration="0003",
              refusals={"lines_quantity_check": Invalid("…", errors=[{"field": "quantity", "message": "…"}])})

    class NewLine(Body):            # unknown fields refused, strict types, text trimmed
        sku: str
        quantity: int = Field(ge=1, le=99)

    @api.post("/items", body=NewLine, answers={201: CartView}, idempotency="required", principal=cart_principal)
    def add_item(body: NewLine, connection: Connection) -> Answer:
        \"\"\"Put something into the cart.\"\"\"      # the summary in /openapi.json
        row = store.add_line(connection, …)        # same transaction as the stored answer
        return Answer(row, status=201, headers={"ETag": etag(row["version"])})

    @api.get("/", answers={200: CartView})
    def read_cart() -> Answer:
        row = current().database.read(store.cart, token)          # one autocommitted statement, retried if broken
        prices = current().client.get("products", "/prices", params={"sku": skus}).json()
        visitor = current().identity()                            # None without a token, 401 with a bad one
        return Answer(row)

    def create_app(environ: Mapping[str, str]) -> FunctionApp:
        return build(api, CartSettings, environ)

The template calls `create_app(os.environ)` once, in the process that serves. Tests call it with a mapping of their own
and use `app.test_client()`. Changes: `with current().database.transaction() as connection: …`, or
`current().database.change(work)`, which is begun again after a deadlock; routes with `idempotency` are run like that,
so their handlers have no effect outside of their transaction; with `idempotency="own"` a key is demanded, and the
function itself sees to what it is for.
Roles: `roles=("hq", "service")` on the route (401 without a token, 403 without the role), where `identity()` is who asks.
What is another customer's is answered 404, like what is not there.
A route for `service` alone is internal: whatever comes through the edge gets 404 from it, token or not.
Log: `logging.getLogger("magasin")`. Own metrics: module-level prometheus_client objects, each with a row in docs/metrics.md;
what a transaction counts is counted after its commit: `connection.after_commit(SALES.labels(store).inc)`.
Handlers may return a plain dict or list (200), or an Answer; without that transaction also a Flask Response, for what is
not JSON or is sent in pieces. Raise any Problem of errors.py anywhere.
Calls: `current().client`, with `timeout_seconds` where less time is left for one than for the request. What several
functions ask of the same one is asked in one way: catalogue.py (products), stock.py (inventory), payments.py (payments).
Headers of your own are declared for OpenAPI: `request_headers={"X-Cart-Token": "…"}`, `response_headers`.
"""

from .api import Answer, Api
from .app import create_app, to_json
from .auth import Identity
from .claims import claimed
from .database import Connection, Database
from .errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    PaymentRequired,
    PreconditionFailed,
    PreconditionRequired,
    Problem,
    Unauthorized,
    Unavailable,
    UpstreamTimeout,
)
from .etag import etag, is_fresh, required_version
from .pages import bad_cursor, decode_cursor, decode_moment_cursor, encode_cursor, moment_filters, page
from .service import FunctionApp, Service, current, identity
from .settings import (
    DatabaseSettings,
    FunctionSettings,
    ServiceKeySettings,
    SettingsError,
    TokenSettings,
    secret,
    setting,
)
from .statements import Prepared, Row, execute, fetch_all, fetch_one
from .validation import ONE_LINE, Body, Day, Name, Query

__all__ = [
    "ONE_LINE",
    "Answer",
    "Api",
    "BadRequest",
    "Body",
    "Conflict",
    "Connection",
    "Database",
    "DatabaseSettings",
    "Day",
    "Forbidden",
    "FunctionApp",
    "FunctionSettings",
    "Identity",
    "Invalid",
    "Name",
    "NotFound",
    "PaymentRequired",
    "PreconditionFailed",
    "PreconditionRequired",
    "Prepared",
    "Problem",
    "Query",
    "Row",
    "Service",
    "ServiceKeySettings",
    "SettingsError",
    "TokenSettings",
    "Unauthorized",
    "Unavailable",
    "UpstreamTimeout",
    "bad_cursor",
    "claimed",
    "create_app",
    "current",
    "decode_cursor",
    "decode_moment_cursor",
    "encode_cursor",
    "etag",
    "execute",
    "fetch_all",
    "fetch_one",
    "identity",
    "is_fresh",
    "moment_filters",
    "page",
    "required_version",
    "secret",
    "setting",
    "to_json",
]
