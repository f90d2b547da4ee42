"""How a kind of server takes the settings of a request, and where its answer says what was mixed.

    SGLang  custom_params {"moi": {"beta": 0.5}}  chat: choices[0].meta_info["moi"]; text: meta_info["moi"] of /generate
    vLLM    vllm_xargs {"moi_beta": 0.5}          kv_transfer_params["moi"][0]

SGLang's /v1/completions takes the settings and tells nothing, so plain text goes to /generate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from moi import MoIConfig
from moi.policies import policy_named
from moi_engines.protocol import SamplingParams


@dataclass(frozen=True)
class Question:
    """One request.

    prompt    what the user says (chat), or the text to go on from; token ids instead are answered with token ids
    chat      whether the server puts its chat template around the prompt
    settings  policy, parameters and seed of MoI by name, as JSON holds them
    """

    prompt: str | Sequence[int]
    chat: bool
    sampling: SamplingParams
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mixes(self) -> bool:
        """Whether its tokens are to be mixed."""
        return bool(self.settings.get("policy", "token") != "token")


@dataclass(frozen=True)
class Telemetry:
    """What a server's plugin says of a request: means over its tokens, 0..1, and how many were fed as mixtures."""

    mean_entropy: float
    mean_intervention: float
    mixed_tokens: int


@dataclass(frozen=True)
class Answer:
    """A finished text; what was thought stands in <think>...</think> before it. telemetry is None where none came.

    finish  "stop", "length", or another word of the server
    """

    text: str
    tokens: int
    finish: str
    telemetry: Telemetry | None


class Tokens(NamedTuple):
    """What was generated, with the numbers of each token."""

    ids: Sequence[int]
    entropy: Sequence[float]
    intervention: Sequence[float]


def settings_of(config: MoIConfig, seed: int) -> dict[str, Any]:
    """A request's settings: policy, parameters (infinity as "inf"), and the seed for a policy that draws."""
    values = {name: "inf" if value == math.inf else value for name, value in config.parameters}
    drawn = {"seed": seed} if policy_named(config.policy).draws else {}
    return {"policy": config.policy, **values, **drawn}


class Dialect(ABC):
    """One kind of server.

    name      what users call it
    owned_by  what its /v1/models says
    """

    name: ClassVar[str]
    owned_by: ClassVar[str]

    @abstractmethod
    def fields(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What a request's body, or SGLang's sampling_params, says of settings; nothing where there are none."""

    @abstractmethod
    def request(self, question: Question, model: str) -> tuple[str, dict[str, Any]]:
        """Path below the server's root, and the JSON body."""

    @abstractmethod
    def answer(self, raw: Mapping[str, Any]) -> Answer:
        """What a response of status 200 says; KeyError, TypeError or ValueError if it is none of this kind."""

    @abstractmethod
    def tokens(self, raw: Mapping[str, Any]) -> Tokens:
        """Of the answer to token ids, with the setting per_token; KeyError or TypeError if it tells no numbers."""


class SGLang(Dialect):
    """SGLang; of routers in front of it, smg passes both requests on, sglang-router 0.3.2 drops custom_params."""

    name = owned_by = "sglang"

    def fields(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Dialect`."""
        return {"custom_params": {"moi": dict(settings)}} if settings else {}

    def request(self, question: Question, model: str) -> tuple[str, dict[str, Any]]:
        """See `Dialect`."""
        custom = self.fields(question.settings)
        if question.chat:
            return "v1/chat/completions", {**_chat(question, model), **custom, "return_meta_info": True}
        given = question.sampling
        params = {"temperature": given.temperature, "top_p": given.top_p, "max_new_tokens": given.max_new_tokens}
        params |= {"sampling_seed": given.seed, "ignore_eos": given.ignore_eos}
        kind = "text" if isinstance(question.prompt, str) else "input_ids"
        return "generate", {kind: question.prompt, "sampling_params": {**params, **custom}}

    def answer(self, raw: Mapping[str, Any]) -> Answer:
        """See `Dialect`."""
        if "choices" in raw:
            choice = raw["choices"][0]
            told = (choice.get("meta_info") or {}).get("moi")
            return Answer(_text(choice), raw["usage"]["completion_tokens"], choice["finish_reason"], _telemetry(told))
        meta = raw["meta_info"]
        finish = meta["finish_reason"]["type"]
        return Answer(raw["text"], meta["completion_tokens"], finish, _telemetry(meta.get("moi")))

    def tokens(self, raw: Mapping[str, Any]) -> Tokens:
        """See `Dialect`."""
        told = raw["meta_info"]["moi"]
        return Tokens(raw["output_ids"], told["entropy"], told["intervention"])


class VLLM(Dialect):
    """vLLM; keys of vllm_xargs are flat."""

    name = owned_by = "vllm"

    def fields(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Dialect`."""
        return {"vllm_xargs": {f"moi_{key}": value for key, value in settings.items()}} if settings else {}

    def request(self, question: Question, model: str) -> tuple[str, dict[str, Any]]:
        """See `Dialect`."""
        custom = self.fields(question.settings)
        if question.chat:
            return "v1/chat/completions", {**_chat(question, model), **custom}
        ids = {} if isinstance(question.prompt, str) else {"return_token_ids": True}
        return "v1/completions", {"prompt": question.prompt, **_shared(question, model), **custom, **ids}

    def answer(self, raw: Mapping[str, Any]) -> Answer:
        """See `Dialect`."""
        choice, told = raw["choices"][0], (raw.get("kv_transfer_params") or {}).get("moi")
        telemetry = _telemetry(told[0] if told else None)
        return Answer(_text(choice), raw["usage"]["completion_tokens"], choice["finish_reason"], telemetry)

    def tokens(self, raw: Mapping[str, Any]) -> Tokens:
        """See `Dialect`."""
        (told,) = raw["kv_transfer_params"]["moi"]
        return Tokens(raw["choices"][0]["token_ids"], told["entropy"], told["intervention"])


DIALECTS: dict[str, Dialect] = {each.name: each for each in (SGLang(), VLLM())}


def _chat(question: Question, model: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question.prompt}], **_shared(question, model)}


def _shared(question: Question, model: str) -> dict[str, Any]:
    given = question.sampling
    shared = {"model": model, "temperature": given.temperature, "top_p": given.top_p, "seed": given.seed}
    return {**shared, "max_tokens": given.max_new_tokens, "ignore_eos": given.ignore_eos}


def _text(choice: Mapping[str, Any]) -> str:
    """Of a choice; a server with a reasoning parser parts what was thought from what is said."""
    if "message" not in choice:
        return str(choice["text"])
    message = choice["message"]
    thought = message.get("reasoning_content") or message.get("reasoning")
    said = message.get("content") or ""
    return f"<think>{thought}</think>{said}" if thought else said


def _telemetry(told: Any) -> Telemetry | None:
    """Of a plugin's summary; None where there is none, or what a process without the plugin left behind."""
    if not isinstance(told, Mapping):
        return None
    return Telemetry(told["mean_entropy"], told["mean_intervention"], told["mixed_tokens"])
