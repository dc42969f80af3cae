"""``fastweights fsck``: check a store, and repair it."""

from cyclopts import App

from fastweights.cli import output

app = App(name="fsck", help="Check every file of the store.")


@app.default
def fsck(*, repair: bool = False, gc: bool = False, grace_minutes: float = 60.0) -> None:
    """Check every file of the store. Exit code 1 if problems remain.

    Parameters
    ----------
    repair
        Rebuild what can be derived (views, indexes), cut torn tails, clear what crashes left behind.
    gc
        Delete objects that no session refers to.
    grace_minutes
        Objects younger than this may belong to a commit under way; --gc leaves them.
    """
    from fastweights.store.fsck import fsck as check

    store = output.current().store()
    report = check(store, repair=repair, gc=gc, grace_s=60 * grace_minutes)

    def text() -> str:
        lines = [f"{'repaired' if f.repaired else f.level}: {f.path}: {f.problem}" for f in report.findings]
        if report.collected:
            lines.append(f"collected {report.collected} objects, {report.collected_bytes} bytes")
        counts = ", ".join(f"{count} {name}" for name, count in report.checked.items())
        lines.append(f"{store.root}: {counts}: {'clean' if report.ok else 'problems remain'}")
        if not report.ok and not repair:
            lines.append("`fastweights fsck --repair` mends what can be mended")
        return "\n".join(lines)

    output.current().emit(report.as_dict(), text)
    if not report.ok:
        raise output.Exit(output.FAILED)
