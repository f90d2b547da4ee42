"""The page: its layout, and which input leads to what. All of Gradio's components are made here or in `controls`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from moi_playground import controls, markup
from moi_playground.records import MIXED, PLAIN, Column
from moi_playground.runs import REFUSALS, Picture, Runs

_STYLE = """
.gradio-container { max-width: 80rem !important; margin: 0 auto !important; }
.moi-head h1 { font-size: 1.4rem; font-weight: 700; margin: 0; }
.moi-head p { margin: 0.2em 0 0; overflow-wrap: anywhere; }
"""

STOPPING = "Stopping after the token that is being made."


@dataclass(frozen=True)
class Defaults:
    """What the page begins with."""

    prompt: str
    new_tokens: int
    policy: str = "moi"


def build(runs: Runs, defaults: Defaults) -> Any:
    """The page as `gradio.Blocks`, which needs `head()` and `theme()` where it is served."""
    import gradio as gr

    with gr.Blocks(title="Mixture of Inputs", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(_head(runs), elem_id="head")
        prompt = gr.Textbox(defaults.prompt, label="prompt", lines=2, max_lines=12, elem_id="prompt")
        chat = gr.Checkbox(False, label="chat template", visible=runs.source.chats, elem_id="chat")
        with gr.Row():
            with gr.Column():
                policy = gr.Radio(
                    controls.mixing_policies(), value=defaults.policy, label="policy beside plain", elem_id="policy"
                )
                declared = controls.build(defaults.policy)
            with gr.Column():
                sampling = _sampling(defaults)
        with gr.Row():
            start = gr.Button("Generate", variant="primary", elem_id="generate")
            stop = gr.Button("Stop", elem_id="stop")
            download = gr.DownloadButton("Share as HTML", interactive=False, elem_id="share")
        said = gr.HTML(markup.message(), elem_id="message")
        # The style sheet reads it: no handler does, so it must be said that people may choose.
        gr.Radio(
            list(markup.SWITCH),
            value=markup.SWITCH[0],
            label="tokens coloured by",
            interactive=True,
            elem_id="colour",
        )
        gr.HTML(markup.legend(), elem_id="legend")
        with gr.Row():
            with gr.Column():
                left = gr.HTML(markup.column(Column("plain")), elem_id="plain")
            with gr.Column():
                right = gr.HTML(markup.column(Column(defaults.policy)), elem_id="mixed")
        generate = _handler(runs, declared, list(sampling))
        inputs = [prompt, chat, policy, *sampling.values(), *declared.components()]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        start.click(generate, inputs, [left, right, said, download], concurrency_limit=1, **quiet)
        stop.click(_stopper(runs), None, said, concurrency_limit=None, **quiet)
        policy.change(_chooser(declared), policy, list(declared.groups.values()), concurrency_limit=None, **quiet)
        page.unload(_leaver(runs))
    return page


def head() -> str:
    """The style sheet of the page, as it is: Gradio changes the selectors of what it takes as `css`."""
    return f"<style>{_STYLE}{markup.style()}</style>"


def theme() -> Any:
    """Gradio's plain theme with the system's own fonts: none is fetched."""
    import gradio as gr

    plain = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return plain.set(block_info_text_color="*neutral_500", block_info_text_color_dark="*neutral_300")


def _head(runs: Runs) -> str:
    where = f"{escape(runs.source.name)} ({escape(runs.source.where)})"
    return (
        f'<div class="moi-head"><h1>Mixture of Inputs</h1><p>{where}. Plain decoding beside a policy from the same '
        "seed. Point at a token for its numbers.</p></div>"
    )


def _sampling(defaults: Defaults) -> dict[str, Any]:
    """By the names of `SamplingParams`."""
    import gradio as gr

    return {
        "temperature": gr.Slider(
            0, 2, value=1, step=0.05, label="temperature", info="0 is greedy", elem_id="temperature"
        ),
        "top_p": gr.Slider(0.01, 1, value=1, step=0.01, label="top_p", info="mass that is kept", elem_id="top_p"),
        "max_new_tokens": gr.Number(
            defaults.new_tokens, precision=0, minimum=1, label="max new tokens", elem_id="max_new_tokens"
        ),
        "seed": gr.Number(0, precision=0, minimum=0, label="seed", elem_id="seed"),
    }


def _handler(runs: Runs, declared: controls.PolicyControls, names: list[str]) -> Any:
    """What the button starts."""
    import gradio as gr

    def generate(request: gr.Request, prompt: str, chat: bool, policy: str, *values: Any) -> Iterator[Any]:
        sampling, parameters = values[: len(names)], values[len(names) :]
        try:
            settings = declared.settings(policy, parameters)
            ask = runs.ask(prompt, chat, dict(zip(names, sampling, strict=True)), policy, settings)
        except REFUSALS as error:
            yield gr.skip(), gr.skip(), markup.message(str(error)), gr.skip()
            return
        for picture in runs.run(_id(request), ask):
            yield _shown(picture)

    generate.__annotations__["request"] = gr.Request  # Gradio asks the signature, where it is a string
    return generate


def _shown(picture: Picture) -> tuple[Any, ...]:
    import gradio as gr

    last = picture.file is not None
    plain, mixed = (markup.column(picture.columns[index], table=last) for index in (PLAIN, MIXED))
    download = gr.DownloadButton(value=str(picture.file) if last else None, interactive=last)
    return plain, mixed, markup.message(picture.message), download


def _stopper(runs: Runs) -> Any:
    import gradio as gr

    def stop(request: gr.Request) -> str:
        return markup.message(STOPPING if runs.stop(_id(request)) else "")

    stop.__annotations__["request"] = gr.Request
    return stop


def _leaver(runs: Runs) -> Any:
    import gradio as gr

    def leave(request: gr.Request) -> None:
        runs.stop(_id(request))

    leave.__annotations__["request"] = gr.Request
    return leave


def _chooser(declared: controls.PolicyControls) -> Any:
    import gradio as gr

    def choose(policy: str) -> list[Any]:
        return [gr.Column(visible=name == policy) for name in declared.groups]

    return choose


def _id(request: Any) -> str:
    return str(request.session_hash)
