import { describe, expect, it } from "vitest";
import { drawn, filterRows, nextOrder, type SessionRow, sortRows, toRow } from "./sessionRows";

const row = (id: string, more: Partial<SessionRow> = {}): SessionRow => ({
  key: `text:${id}`, kind: "text", id, model: "starter", title: "", turns: 1, head: "", parent: null, bytes: 1, drift: null,
  createdAt: "", updatedAt: `2026-01-0${id.length}`, ...more,
});
const ids = (rows: SessionRow[]) => rows.map((entry) => entry.id).join();

it("toRow names the kind in its key", () => {
  const listed = {
    session_id: "s", model: "m", title: "t", n_turns: 2, head: "h", parent_session: "p", state_bytes: 3, drift: 0.5,
    created_at: "1", updated_at: "2",
  };
  expect(toRow("nano", listed)).toMatchObject({ key: "nano:s", turns: 2, parent: "p", bytes: 3, drift: 0.5, updatedAt: "2" });
});

describe("filterRows", () => {
  const rows = [row("one", { title: "The Age of Wisdom" }), row("two", { kind: "nano", parent: "one" })];
  it("wants every word, anywhere", () => {
    expect(ids(filterRows(rows, "wisdom the"))).toBe("one");
    expect(ids(filterRows(rows, "one"))).toBe("one,two");
    expect(ids(filterRows(rows, "nano starter"))).toBe("two");
    expect(ids(filterRows(rows, " "))).toBe("one,two");
  });
});

describe("sortRows", () => {
  const rows = [row("a", { drift: 0.2 }), row("bb"), row("ccc", { drift: -0.1 })];
  it("puts missing values last either way", () => {
    expect(ids(sortRows(rows, { by: "drift", down: true }))).toBe("a,ccc,bb");
    expect(ids(sortRows(rows, { by: "drift", down: false }))).toBe("ccc,a,bb");
  });
  it("breaks ties by last use", () => expect(ids(sortRows(rows, { by: "turns", down: false }))).toBe("ccc,bb,a"));
  it("turns round on the second click", () => {
    expect(nextOrder({ by: "id", down: false }, "id")).toEqual({ by: "id", down: true });
    expect(nextOrder({ by: "id", down: false }, "drift")).toEqual({ by: "drift", down: true });
  });
});

it("drawn takes the newest sessions up to a number of commits, and at least one", () => {
  const rows = [row("a", { turns: 9 }), row("bb", { turns: 9 }), row("ccc", { turns: 900 })];
  expect(ids(drawn(rows, 20))).toBe("ccc");
  expect(ids(drawn(rows.slice(0, 2), 20))).toBe("bb,a");
});
