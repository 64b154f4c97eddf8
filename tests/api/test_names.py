"""Any name that a person may choose can be listed, shown and named again over the API."""

from urllib.parse import quote

from tests.api.served import Served, attempt

FROM = "2023-01-01T00:00:00Z"
NAMES = [
    *("crm/7", "a/b/c", "/", "//", "/a", "a/", "%2F", "a%2Fb", "?x=1", "#", "a b", "名/ü", "🙂"),
    *("-x", "--help", "%2e", "%00", "a;b", "a,b", '"', "'", "\\", "..", "../../evil", "~", "$x"),
]


async def test_a_name_of_anothers_is_entered_listed_and_shown(served: Served) -> None:
    for name in NAMES:
        alias = {"alias": name, "customer_id": "acme", "valid_from": FROM}
        assert served.post("/v1/aliases", alias).status_code == 201, name
        (listed,) = served.get("/v1/aliases", params={"key": name}).json()["items"]
        assert listed["alias"] == name
        if name != "..":
            # A client takes this one out of a path itself.
            shown = served.get(f"/v1/aliases/{quote(name, safe='')}").json()
            assert (shown["id"], shown["versions"]) == (name, [listed])
        again = {**alias, "customer_id": "beta"}
        assert served.post("/v1/aliases?replace=true", again).status_code == 201
        versions = served.get("/v1/aliases", params={"key": name}).json()["items"]
        assert [row["customer_id"] for row in versions] == ["beta"], name
    listed = served.get("/v1/aliases").json()["items"]
    assert sorted(row["alias"] for row in listed) == sorted(NAMES)


async def test_what_waits_under_a_name_is_released(served: Served) -> None:
    served.send(*(attempt(f"{n}", customer_id=name) for n, name in enumerate(NAMES)))
    waiting = {row["customer_ref"] for row in served.get("/v1/suspense").json()["items"]}
    assert waiting == set(NAMES)
    for name in NAMES:
        served.post("/v1/aliases", {"alias": name, "customer_id": "acme", "valid_from": FROM})
        released = served.post(f"/v1/suspense/{quote(name, safe='')}/release", {}).json()
        assert name == ".." or released == {"customer_ref": name, "released": 1}, name


async def test_a_slash_in_a_name_leads_to_no_other_route(served: Served) -> None:
    for path in ("/v1%2Fcustomers", "/v1/customers/acme%2F..", "/v1/customers/acme%2Fx", "%2F"):
        assert served.get(path).status_code == 404, path
    assert served.get("/v1/customers/%EF%B7%90").status_code == 404
