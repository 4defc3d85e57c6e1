"""What is taken for a label, and how sure the tokens say the model was."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logclf.llm.calls import UNSURE, LlmError
from logclf.llm.reply import MAX_REPLY, confidence, parse
from logclf.taxonomy import DEFAULT

LABELS = DEFAULT.names


@pytest.mark.parametrize("label", [*LABELS, UNSURE])
def test_the_object_that_was_asked_for_is_its_label(label: str) -> None:
    assert parse(json.dumps({"label": label}), LABELS) == label
    assert parse(f'\r\n\t {{ "label" :\n"{label}" }}\n', LABELS) == label


def test_escapes_are_json() -> None:
    assert parse('{"\\u006cabel": "\\u0045rror"}', LABELS) == "Error"


INVALID = [
    "",
    " ",
    "Error",
    '"Error"',
    "null",
    "[]",
    "{}",
    "NaN",
    '["label", "Error"]',
    '[["label", "Error"]]',
    '[{"label": "Error"}]',
    '{"label": "Error"}\u00a0',  # a no-break space is no JSON
    '\ufeff{"label": "Error"}',
    '{"label": "Error"}.',
    '{"label": "Error"}{"label": "Error"}',
    '```json\n{"label": "Error"}\n```',
    'Sure! {"label": "Error"}',
    '<think>\n</think>{"label": "Error"}',
    '{"label": "Error", "label": "Error"}',
    '{"label": "Error", "label": "System Notification"}',
    '{"label": "Error", "confidence": 1.0}',
    '{"label": "Error", "reason": "because"}',
    '{"Label": "Error"}',
    '{"label": "error"}',
    '{"label": " Error"}',
    '{"label": "Error\\n"}',
    '{"label": "Unclassified"}',
    '{"label": "Unsure"}',
    '{"label": ""}',
    '{"label": null}',
    '{"label": true}',
    '{"label": 1}',
    '{"label": ["Error"]}',
    '{"label": {"label": "Error"}}',
    "{'label': 'Error'}",
    '{"label": "Error",}',
    '{"label": "Error"',
    '{"label": "Err\x00or"}',
    '{"label": "\\ud800"}',
    "[" * 2000,
    '{"label":' * 200,
    "1" * 2000,
    '{"label": "Error"}' + " " * MAX_REPLY,
    "x" * 10_000_000,
]


@pytest.mark.parametrize("text", INVALID, ids=range(len(INVALID)))
def test_everything_else_is_a_failure_and_no_label(text: str) -> None:
    with pytest.raises(LlmError) as caught:
        parse(text, LABELS)
    assert (caught.value.reason, caught.value.retry, caught.value.server) == ("invalid_reply", False, False)


def test_the_error_quotes_nothing_of_the_reply() -> None:
    for text in ('{"label": "s3cret"}', "s3cret", '{"s3cret": "Error"}', "s3cret" * 1000):
        with pytest.raises(LlmError) as caught:
            parse(text, LABELS)
        shown = caught.value
        while shown is not None:
            assert "s3cret" not in f"{shown}{shown!r}"
            shown = None if shown.__suppress_context__ else shown.__cause__ or shown.__context__


@given(
    st.text(max_size=80)
    | st.recursive(st.text() | st.none(), lambda some: st.dictionaries(st.text(), some)).map(json.dumps)
)
def test_whatever_comes_it_is_a_label_or_a_failure(text: str) -> None:
    with suppress(LlmError):
        assert parse(text, LABELS) in {*LABELS, UNSURE}


def tokens(*pairs: tuple[str, float]) -> list[dict[str, object]]:
    return [{"token": token, "logprob": logprob, "top_logprobs": []} for token, logprob in pairs]


SPELT = tokens(
    ('{"', -0.1), ("label", -0.2), ('":', -0.3), (' "', -0.4), ("User", -0.5), (" Action", -0.25), ('"}', -1)
)


def test_confidence_is_the_probability_of_the_labels_tokens_alone() -> None:
    assert confidence(SPELT) == pytest.approx(math.exp(-0.75))
    assert confidence(SPELT, '{"label": "User Action"}') == pytest.approx(math.exp(-0.75))
    assert confidence({"content": SPELT, "refusal": None}) == pytest.approx(math.exp(-0.75))


def test_a_token_that_is_partly_the_labels_counts_whole() -> None:
    assert confidence(tokens(('{"label":"', -1), ("Err", -0.5), ('or"}', -0.5))) == pytest.approx(math.exp(-1))
    assert confidence(tokens(('{"label":"Error"}', -2))) == pytest.approx(math.exp(-2))


def test_what_stands_around_the_reply_does_not_count() -> None:
    around = [*tokens(("<think>", -3), ("\n", -3)), *SPELT, *tokens(("<|im_end|>", -4))]
    assert confidence(around, ' {"label": "User Action"}\n') == pytest.approx(math.exp(-0.75))
    assert confidence(around) is None


def test_tokens_may_be_objects_that_are_indexed_by_name() -> None:
    from ollama._types import Logprob

    found = [Logprob(token=each["token"], logprob=each["logprob"]) for each in SPELT]
    assert confidence(found) == pytest.approx(math.exp(-0.75))


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {},
        "text",
        b"bytes",
        7,
        {"content": None},
        {"content": "text"},
        [None],
        [{}],
        ["token"],
        [{"token": '{"label":"Error"}'}],
        [{"token": '{"label":"Error"}', "logprob": None}],
        [{"token": '{"label":"Error"}', "logprob": "-1"}],
        [{"token": '{"label":"Error"}', "logprob": True}],
        [{"token": '{"label":"Error"}', "logprob": math.nan}],
        [{"token": '{"label":"Error"}', "logprob": -math.inf}],
        [{"token": '{"label":"Error"}', "logprob": 0.5}],
        [{"token": '{"label":"Error"}', "logprob": 10**400}],
        [{"token": '{"label":"Error"}', "logprob": -(10**400)}],
        [{"token": None, "logprob": -1}],
        tokens(("Error", -1)),
        tokens(('{"label":""}', -1)),
        [*SPELT, {"token": "", "logprob": math.nan}],
        SPELT * 1000,
    ],
)
def test_no_confidence_where_the_tokens_are_odd(logprobs: object) -> None:
    assert confidence(logprobs) is None


def test_no_confidence_where_the_tokens_spell_another_reply() -> None:
    assert confidence(SPELT, '{"label": "Error"}') is None


@given(st.lists(st.floats(-20, 0), min_size=7, max_size=7))
def test_confidence_is_a_probability(logprobs: list[float]) -> None:
    given_ = [{**each, "logprob": logprob} for each, logprob in zip(SPELT, logprobs, strict=True)]
    found = confidence(given_)
    assert found is not None
    assert 0 <= found <= 1
