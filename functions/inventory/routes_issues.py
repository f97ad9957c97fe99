"""Routes for sales: stock leaves, is put back, comes back; each reference once, whatever is repeated."""

from __future__ import annotations

from typing import Any

from functions.shared import Answer, Conflict, Connection, NotFound, Row, current

from . import domain, store, store_issues, views
from .common import READERS, api, lines_at, move, require_location
from .domain import Line
from .routes_movements import reference_taken

ISSUE_KINDS = ("sale", "sale_undone")
RETURN_KINDS = ("return", "write_off")
NOT_RESTOCKED = "returned, not restocked"


@api.post(
    "/issues", body=views.NewIssue, answers={200: views.IssueView, 201: views.IssueView}, roles=("service",),
    idempotency="required", problems=[409],
)  # fmt: skip
def issue_stock(body: views.NewIssue, connection: Connection) -> Answer:
    """Stock leaves for what the reference names, all lines or none, once.

    The same again is answered 200 with the issue as it stands.
    """
    require_location(connection, body.location)
    lines = lines_at(body.location, body.lines)
    content = store.stored_lines(domain.combined(lines))
    if not store_issues.add_issue(connection, body.reference, body.location, content):
        asked = {"location": body.location, "lines": content}
        return Answer(_repeated_issue(connection, body.reference, asked), 200)
    movements = move(connection, domain.taken(lines, "sale"), lines, reference=body.reference)
    issue = store_issues.find_issue(connection, body.reference)
    return Answer({**(issue or {}), "movements": movements}, 201)


def _repeated_issue(connection: Connection, reference: str, asked: Row) -> Row:
    issue = _find_issue(connection, reference)
    if issue["state"] == "undone":
        raise Conflict("This reference was undone; it cannot be issued any more.", code="issue_undone")
    if not views.is_same(issue, asked):
        raise reference_taken(reference)
    return issue


@api.get("/issues/<reference>", answers={200: views.IssueView}, roles=READERS, problems=[404])
def read_issue(reference: str) -> Row:
    """What a reference has issued, and whether it was undone."""
    with current().database.transaction() as connection:
        return _find_issue(connection, reference)


def _find_issue(connection: Connection, reference: str) -> Row:
    issue = store_issues.find_issue(connection, reference)
    if issue is None:
        raise NotFound("This reference has issued nothing.", code="issue_not_found")
    return {**issue, "movements": store.movements_of(connection, reference, ISSUE_KINDS)}


@api.post(
    "/issues/<reference>/undo", answers={200: views.IssueView}, roles=("service",), idempotency="required",
    problems=[422],
)  # fmt: skip
def undo_issue(reference: str, connection: Connection) -> Answer:
    """Put back what a reference has issued, once.

    If it has issued nothing, it never will: that settles a call whose answer was lost.
    """
    reference = views.check_reference(reference)
    if not store_issues.forbid_issue(connection, reference) and store_issues.undo_issue(
        connection, reference
    ):
        issue = store_issues.find_issue(connection, reference) or {}
        lines = [Line(issue["location"], line["sku"], line["quantity"]) for line in issue["lines"]]
        move(connection, domain.brought(lines, "sale_undone"), lines, reference=reference)
    return Answer(_find_issue(connection, reference))


@api.post(
    "/returns", body=views.NewReturn, answers={200: views.ReturnView, 201: views.ReturnView},
    roles=("service",), idempotency="required", problems=[409],
)  # fmt: skip
def return_goods(body: views.NewReturn, connection: Connection) -> Answer:
    """Goods come back and are restocked, or booked in and written off; once for each reference."""
    require_location(connection, body.location)
    lines = lines_at(body.location, body.lines)
    content = store.stored_lines(domain.combined(lines))
    if not store_issues.add_return(connection, body.reference, body.location, content, body.restock):
        asked = {"location": body.location, "lines": content, "restock": body.restock}
        present = _find_return(connection, body.reference)
        if not views.is_same(present, asked):
            raise reference_taken(body.reference)
        return Answer(present, 200)
    move(connection, domain.brought(lines, "return"), lines, reference=body.reference)
    if not body.restock:
        changes = domain.taken(lines, "write_off")
        move(connection, changes, lines, reason=NOT_RESTOCKED, reference=body.reference)
    return Answer(_find_return(connection, body.reference), 201)


@api.get("/returns/<reference>", answers={200: views.ReturnView}, roles=READERS, problems=[404])
def read_return(reference: str) -> Row:
    """What came back under a reference."""
    with current().database.transaction() as connection:
        return _find_return(connection, reference)


def _find_return(connection: Connection, reference: str) -> dict[str, Any]:
    found = store_issues.find_return(connection, reference)
    if found is None:
        raise NotFound("Nothing came back under this reference.", code="return_not_found")
    return {**found, "movements": store.movements_of(connection, reference, RETURN_KINDS)}
