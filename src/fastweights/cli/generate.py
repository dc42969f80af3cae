"""``fastweights generate``: sample from a model; nothing is stored."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.hints import validate, validate_given
from fastweights.services.records import GenerateRequest, Generation, Sampling

app = App(name="generate", help="Sample text from a model.")


@app.default
def generate(
    *,
    model: str | None = None,
    preset: str | None = None,
    prompt: Annotated[list[str] | None, Parameter(allow_leading_hyphen=True, negative="")] = None,
    prompt_tokens: Annotated[list[str] | None, Parameter(negative="")] = None,
    seed: int | None = None,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: Annotated[list[str] | None, Parameter(negative="")] = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    allow_large_cpu: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Continue a prompt, or several side by side. Nothing is stored; a model that learns as it reads (TTT, TTT-E2E)
    learns from prompt and sample, and forgets them.

    Parameters
    ----------
    model
        Model id (default: the latest usable one).
    preset
        Instead of a model of the store: this training preset's model with fresh weights, to try out a machine.
    prompt
        Text to continue; empty: from the beginning of a document. May be repeated; each is drawn as it would be alone.
    prompt_tokens
        Token ids to continue, 1,2,3, read as they are; may be repeated. For models without a tokenizer, too.
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
    device
        auto, cpu, cuda or mps (default: TEXT_LM_DEVICE, else auto).
    allow_large_cpu
        A large --preset on a CPU, too, rather than debug_tiny in its place.
    """
    from fastweights.services.generate import ModelPool, draw

    shared = output.current()
    if model is not None and preset is not None:
        raise output.UsageError("--model and --preset exclude each other: leave one out")
    if prompt and prompt_tokens:
        raise output.UsageError("--prompt and --prompt-tokens exclude each other: leave one out")
    sampling = validate_given(
        Sampling,
        "generate",
        seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        stop=stop,
    )
    given = [{"prompt_tokens": _ids(text)} for text in prompt_tokens or ()]
    given = given or [{"prompt": text} for text in prompt or [""]]
    common = {"model_id": model, "sampling": sampling}
    requests = [validate(GenerateRequest, {**common, **one}, "generate") for one in given]
    if preset is None:
        open_model = ModelPool(shared.store(), device).open(model)
    else:
        from fastweights.services.generate_batch import untrained

        open_model = untrained(
            preset, text=not prompt_tokens, device=device, large_cpu=allow_large_cpu, notice=shared.notice
        )
    if len(requests) == 1:
        done = draw(open_model, requests[0], on_token=None if shared.json else output.write)
        shared.emit(done, "" if shared.json else "\n")
        return
    from fastweights.services.generate_batch import draw_batch

    many = draw_batch(open_model, requests)
    shared.emit(many, lambda: "\n\n".join(map(_whole, many)))


def _ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise output.UsageError(f"--prompt-tokens {text!r}: give token ids with commas between them: 1,2,3") from None


def _whole(one: Generation) -> str:
    return f"{one.prompt}{one.completion}"
