"""``fastweights generate``: sample from a model; nothing is learned or stored."""

from typing import Annotated

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.hints import validate, validate_given
from fastweights.services.records import GenerateRequest, Sampling

app = App(name="generate", help="Sample text from a model.")


@app.default
def generate(
    *,
    model: str | None = None,
    prompt: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    seed: int | None = None,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: Annotated[list[str] | None, Parameter(negative="")] = None,
) -> None:
    """Continue a prompt.

    Parameters
    ----------
    model
        Model id (default: the latest usable one).
    prompt
        Text to continue; empty: from the beginning of a document.
    seed
        Of the sampling.
    max_new_tokens
        Length at most.
    temperature
        0 is greedy.
    top_p
        Nucleus sampling.
    stop
        Text that ends the sample (may be repeated).
    """
    from fastweights.services.generate import GenerateService

    shared = output.current()
    sampling = validate_given(
        Sampling,
        "generate",
        seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        stop=stop,
    )
    request = validate(GenerateRequest, {"model_id": model, "prompt": prompt, "sampling": sampling}, "generate")
    done = GenerateService(shared.store()).generate(request, on_token=None if shared.json else output.write)
    shared.emit(done, "" if shared.json else "\n")
