"""Red team reports over HTTP."""


def test_reports_are_listed_and_missing_ones_are_404(client) -> None:
    assert client.get("/api/redteam").json() == []
    answer = client.get("/api/redteam/redteam-0")
    assert answer.status_code == 404
    assert "redteam-0" in answer.json()["detail"]
