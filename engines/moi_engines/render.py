"""Generations for people: text coloured by entropy, plain and mixed side by side."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group
from rich.style import Style
from rich.table import Table
from rich.text import Text

from moi import MoIConfig
from moi.policies import UNBOUNDED
from moi_engines.protocol import TokenEvent

_CALM, _UNSURE = (120, 160, 120), (235, 70, 50)


def show(
    prompts: list[str],
    config: MoIConfig,
    mixed: list[list[TokenEvent]],
    plain: list[list[TokenEvent]] | None,
    console: Console | None = None,
) -> None:
    """Print one table row a prompt; with `plain`, its text stands left of the mixed one."""
    console = console or Console()
    table = Table(box=box.HORIZONTALS, show_lines=True, expand=plain is not None)
    table.add_column("prompt", ratio=1)
    if plain is not None:
        table.add_column("token (plain)", ratio=3)
    table.add_column(_title(config), ratio=3)
    for index, prompt in enumerate(prompts):
        texts = [cell(rows[index]) for rows in (plain, mixed) if rows is not None]
        table.add_row(Text(prompt), *texts)
    console.print(table)
    if console.color_system is not None:
        console.print(_legend())


def cell(events: list[TokenEvent]) -> Group:
    """The text of a row, each token in the colour of its entropy, over a line of figures."""
    text = Text()
    for event in events:
        text.append(event.text, Style(color=colour(event.entropy)))
    count = len(events)
    entropy = sum(event.entropy for event in events) / count
    intervention = sum(event.intervention for event in events) / count
    figures = f"{count} tokens, entropy {entropy:.3f}, intervention {intervention:.3f}, {events[-1].finish_reason}"
    return Group(text, Text(figures, style="dim"))


def colour(entropy: float) -> str:
    """From green (certain) to red (H = 1)."""
    red, green, blue = (round(a + (b - a) * min(entropy, 1.0)) for a, b in zip(_CALM, _UNSURE, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _title(config: MoIConfig) -> str:
    """The policy with its parameters; K where it matters."""
    if config.policy == "token":
        return config.policy
    bounded = [each for each in config.parameters if each not in UNBOUNDED]
    values = ", ".join([*(f"{name} {value:g}" for name, value in bounded), f"K {config.top_k}"])
    return f"{config.policy} ({values})"


def _legend() -> Text:
    legend = Text("entropy H  ", style="dim")
    for step in range(11):
        legend.append("■", Style(color=colour(step / 10)))
    return legend.append("  0 to 1", style="dim")
