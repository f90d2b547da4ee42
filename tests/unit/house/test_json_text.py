"""What is printed as JSON is JSON, whatever is in it and wherever it goes."""

import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moi import MoIConfig, json_text


def strict(text):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_json_lacks():
    given = {"a": [math.inf, -math.inf, (math.nan, 1.5)], "b": {"c": math.inf}}
    assert strict(json_text.dumps(given)) == {"a": ["inf", "-inf", [None, 1.5]], "b": {"c": "inf"}}


def test_an_infinite_beta_comes_back():
    config = MoIConfig(beta=math.inf)
    assert strict(json.dumps(config.to_dict(), allow_nan=False))["beta"] == "inf"
    assert MoIConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@given(text=st.text(st.characters()))
def test_any_stream_takes_any_text(encoding, text):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    json_text.write({"text": text}, out)
    out.flush()
    assert strict(raw.getvalue().decode(encoding)) == {"text": text}
