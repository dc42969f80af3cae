"""``fastweights doctor``: what is installed and works."""

from cyclopts import App

from fastweights.cli import output

app = App(name="doctor", help="What is installed and works. Missing optional parts are no failure.")


@app.default
def doctor() -> None:
    """Check Python, torch, the device, the store, the starter model, and the optional parts."""
    from fastweights.services.doctor import as_dict, examine

    findings = examine(output.current().store())
    result = as_dict(findings)
    marks = {(True, True): "ok", (True, False): "ok", (False, True): "FAIL", (False, False): "none"}
    rows = [(marks[f.ok, f.required], f.name, f.detail + (f": {f.remedy}" if f.remedy else "")) for f in findings]
    output.current().emit(result, lambda: output.table(rows, ("", "part", "detail")))
    if not result["ok"]:
        raise output.Exit(output.FAILED)
