"""The site's merged document: paths below /api, names kept apart, nothing internal."""

from __future__ import annotations

from typing import Any

from functions.site.domain import merge, operations


def document(name: str, *paths: dict[str, Any], schemas: dict[str, Any] | None = None) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in paths:
        merged |= path
    return {"info": {"title": name}, "paths": merged, "components": {"schemas": schemas or {}}}


def operation(identity: str, ref: str | None = None, **more: Any) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ref}"} if ref else {}
    content = {"application/json": {"schema": schema}}
    return {
        "operationId": identity, "summary": identity, "responses": {"200": {"description": "", "content": content}},
        **more,
    }  # fmt: skip


def test_paths_are_those_of_the_edge() -> None:
    cart = document("cart", {"/": {"get": operation("read")}, "/items/{sku}": {"put": operation("set")}})
    merged = merge({"cart": cart}, title="t", description="d")
    assert [(method, path) for method, path, _ in operations(merged)] == [
        ("GET", "/api/cart"),
        ("PUT", "/api/cart/items/{sku}"),
    ]


def test_two_functions_may_use_one_name() -> None:
    one = document("a", {"/": {"get": operation("read", "View")}}, schemas={"View": {"type": "string"}})
    two = document("b", {"/": {"get": operation("read", "View")}}, schemas={"View": {"type": "integer"}})
    merged = merge({"a": one, "b": two}, title="t", description="d")
    assert merged["components"]["schemas"] == {"a.View": {"type": "string"}, "b.View": {"type": "integer"}}
    assert [found["operationId"] for _, _, found in operations(merged)] == ["a.read", "b.read"]
    schema = merged["paths"]["/api/b"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/b.View"}


def test_references_inside_schemas_and_discriminators_follow() -> None:
    pet = {
        "oneOf": [{"$ref": "#/components/schemas/Cat"}],
        "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/components/schemas/Cat"}},
    }
    schemas = {"Pet": pet, "Cat": {"type": "object"}}
    merged = merge(
        {"a": document("a", {"/": {"get": operation("read", "Pet")}}, schemas=schemas)},
        title="",
        description="",
    )
    assert merged["components"]["schemas"]["a.Pet"] == {
        "oneOf": [{"$ref": "#/components/schemas/a.Cat"}],
        "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/components/schemas/a.Cat"}},
    }


def test_operations_for_services_alone_are_left_out_with_what_only_they_use() -> None:
    paths = {
        "/expire": {"post": operation("expire", "Expired", **{"x-roles": ["service"]})},
        "/": {"get": operation("read", "View", **{"x-roles": ["hq", "service"]})},
    }
    schemas = {"Expired": {"type": "object"}, "View": {"type": "object"}}
    merged = merge({"a": document("a", paths, schemas=schemas)}, title="", description="")
    assert list(merged["paths"]) == ["/api/a"]
    assert list(merged["components"]["schemas"]) == ["a.View"]


def test_schemas_that_name_each_other_are_followed_once() -> None:
    schemas = {"Node": {"properties": {"next": {"$ref": "#/components/schemas/Node"}}}}
    merged = merge(
        {"a": document("a", {"/": {"get": operation("read", "Node")}}, schemas=schemas)},
        title="",
        description="",
    )
    assert list(merged["components"]["schemas"]) == ["a.Node"]


def test_links_lead_to_operations_under_their_new_names_and_to_none_that_is_not_shown() -> None:
    made = operation("make")
    made["responses"]["200"]["links"] = {
        name: {"operationId": name, "parameters": {"id": "$response.body#/id"}} for name in ("read", "expire")
    }
    paths = {
        "/": {"post": made},
        "/{id}": {"get": operation("read")},
        "/{id}/expire": {"post": operation("expire", **{"x-roles": ["service"]})},
    }
    merged = merge({"a": document("a", paths)}, title="", description="")
    assert merged["paths"]["/api/a"]["post"]["responses"]["200"]["links"] == {
        "read": {"operationId": "a.read", "parameters": {"id": "$response.body#/id"}}
    }
