"""The pure parts of answering: fusion, routes, plans, budgets, claims."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.runs import budget, judge, plan
from actors.runs.cite import Cited, marked, places, strongest, unmarked
from actors.runs.decline import refuses, vacuous
from actors.runs.fuse import FEATURES, HALVES, PAIRS, Half, Question, coefficients, features, fuse
from actors.runs.judge import LIKELY, evidence, holds_across, likelihood
from actors.runs.past import past_of
from actors.runs.route import route_of
from actors.runs.sentences import sentences
from actors.runs.tongue import language_of
from actors.runs.words import numbers, stems, stems_in
from perenne.messages.models import ModelState
from perenne.messages.records import Chunk, RunEvent
from perenne.messages.search import Hit


def chunk(id: int, text: str, language: str | None = "en") -> Chunk:
    return Chunk(id=id, document_id=f"d{id}", ordinal=0, text=text, start=0, end=len(text), language=language)


def hit(text: str, score: float = 0.9, start: int = 0, language: str | None = "en", id: int = 1) -> Hit:
    return Hit(
        chunk_id=id,
        document_id=f"d{id}",
        title="",
        text=text,
        start=start,
        end=start + len(text),
        score=score,
        language=language,
    )


def fused(question, chunks, lexical, dense):
    passages = {one.id: frozenset(stems(one.text)) for one in chunks}
    return fuse(question, chunks, passages, lexical, dense)


def cite(question, answer, hits, cosines, language) -> Cited:
    return marked(answer, places(question, answer, hits, cosines, language), hits)


def judged(question, answer, hits) -> float:
    found = evidence(question, places(question, answer, hits, {}, "en"), hits)
    assert found is not None
    return likelihood(found)


def test_the_committed_weights_are_whole():
    for half in HALVES:
        for pair in PAIRS:
            assert len(coefficients()[half][pair]) == len(FEATURES)
    for kind in judge.KINDS:
        assert len(judge.coefficients()[kind]) == len(judge.FEATURES)


def test_a_passage_that_both_halves_favour_comes_first_and_scores_stay_probabilities():
    question = Question("en", frozenset(stems("Who built the engine?")))
    chunks = [chunk(1, "Rivers and salmon."), chunk(2, "The engine was built by Hale."), chunk(3, "An engine.")]
    order = fused(question, chunks, Half({2: 9.0, 3: 4.0}), Half({2: 0.7, 3: 0.4, 1: 0.1}))

    assert order[0][0].id == 2
    assert all(0.0 <= score <= 1.0 for _, score in order)
    assert order[0][1] > 5 * order[-1][1]


def test_a_yes_rests_on_the_whole_passage_if_that_bears_on_the_question_and_lacks_no_figure():
    question, answer = "Did steam make weaving cheaper at the mill?", "Yes, steam made weaving cheaper at the mill."
    text = (
        "Before steam the mill sold cloth at nine pence. After the engine came, weaving cost half and cloth fell to four pence."
    )
    assert cite(question, answer, [hit(text, 0.7)], {}, "en").citations
    assert not cite(question, answer, [hit(text, 0.2)], {}, "en").citations
    assert not cite(question, "Yes, weaving at the mill was cheaper by 1911.", [hit(text, 0.7)], {}, "en").citations


def test_between_languages_meaning_outweighs_a_word_that_happens_to_match():
    question = Question("es", frozenset(stems("¿Quién construyó el motor de vapor Hale?")))
    chunks = [chunk(1, "Robert Hale bred horses.", "en"), chunk(2, "The steam engine was built by Robert.", "en")]
    order = fused(question, chunks, Half({1: 3.0}), Half({2: 0.75, 1: 0.05}))

    assert order[0][0].id == 2


@given(
    scores=st.dictionaries(st.integers(1, 30), st.floats(0, 50), max_size=20),
    cosines=st.dictionaries(st.integers(1, 30), st.floats(-1, 1), max_size=20),
)
def test_any_scores_make_finite_features(scores, cosines):
    question = Question("en", frozenset({"engine"}))
    for id in {*scores, *cosines}:
        row = features(question, id, frozenset({"engine"}), Half(scores), Half(cosines))
        assert len(row) == len(FEATURES)
        assert all(abs(value) < 1e6 for value in row)


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("Hola!", "talk"),
        ("thank you very much", "talk"),
        ("who are you?", "talk"),
        ("Good morning, what does the contract say about rent?", "grounded"),
        ("How are salmon counted?", "grounded"),
        ("Que dice el informe?", "grounded"),
    ],
)
def test_only_small_talk_skips_the_documents(text, route):
    assert route_of(text, grounded=True) == route
    assert route_of(text, grounded=False) == "bare"


HISTORY = (("user", "Who built the engine?"), ("assistant", "Robert Hale."))


@pytest.mark.parametrize(
    ("question", "alone"),
    [
        ("And when?", False),
        ("Where was he born?", False),
        ("¿Y cuándo se construyó?", False),
        ("When did the fire destroy the looms of the mill?", True),
        ("¿Cuándo ardió el molino de Santa Ana?", True),
    ],
)
def test_a_question_that_leans_on_the_talk_is_seen(question, alone):
    assert plan.stands_alone(question, HISTORY) is alone
    assert plan.stands_alone(question, ()) is True


def test_a_rewrite_that_is_a_speech_is_not_used():
    assert plan.cleaned("When was the engine built?\nI rewrote it.", "And when?") == "When was the engine built?"
    assert plan.cleaned("", "And when?") == "And when?"
    assert plan.cleaned("word " * 200, "And when?") == "And when?"


def state(**given) -> ModelState:
    return ModelState(role="language", model_id="m", phase="ready", **given)


def test_a_slow_model_reads_less_and_a_small_context_is_never_overrun():
    slow, quick = state(prompt_tokens_per_s=60.0, context_tokens=8192), state(prompt_tokens_per_s=400.0, context_tokens=8192)
    assert budget.prompt_tokens(slow, 320) == 540
    assert budget.prompt_tokens(quick, 320) == budget.PROMPT_TOKENS_MAX
    assert budget.prompt_tokens(state(context_tokens=1024), 512) <= 1024 - 512


MILL = "The mill burned in 1902. Its steam engine was built by Robert Hale in 1854. Forty looms were driven by it."


def test_a_claim_is_cited_with_the_very_sentence_that_holds_it():
    passages = [hit("Salmon return in spring.", 0.2, id=7), hit(MILL, 0.9, start=100, id=8)]
    cited = cite("Who built the engine?", "It was built by Robert Hale in 1854. Salmon return in spring.", passages, {}, "en")

    assert cited.text == "It was built by Robert Hale in 1854. [2] Salmon return in spring. [1]"
    first = cited.citations[0]
    assert first.quote == "Its steam engine was built by Robert Hale in 1854."
    assert MILL[first.start - 100 : first.end - 100] == first.quote
    assert cited.text[first.answer_start : first.answer_end] == "It was built by Robert Hale in 1854."


@pytest.mark.parametrize(
    "claim",
    [
        "The engine was built by Robert Hale in 1867.",
        "The engine was built by Thomas Newcomen.",
        "It cost a fortune and bankrupted the village council.",
    ],
)
def test_a_claim_with_another_figure_or_name_or_out_of_the_air_is_not_cited(claim):
    assert cite("Who built the engine?", claim, [hit(MILL)], {}, "en").citations == ()


def test_a_bare_name_or_yes_claims_the_question_with_it():
    assert cite("Who built the steam engine?", "Robert Hale.", [hit(MILL)], {}, "en").citations
    assert cite("Was the steam engine built by Robert Hale?", "Yes.", [hit(MILL)], {}, "en").citations
    assert not cite("Was the cathedral restored by monks?", "Yes.", [hit(MILL)], {}, "en").citations


def test_an_answer_stands_on_a_passage_that_speaks_of_the_question_and_holds_the_words():
    question = "Who built the steam engine of the mill?"
    assert judged(question, "Robert Hale built the steam engine of the mill in 1854.", [hit(MILL)]) >= LIKELY
    assert judged(question, "Thomas Newcomen built it in 1712 near Dudley.", [hit(MILL, 0.2)]) < LIKELY


def test_the_same_words_stand_less_firmly_where_search_thinks_little_of_the_passage_or_it_is_about_something_else():
    question, answer = "Who built the steam engine of the mill?", "Robert Hale built it."
    firm = judged(question, answer, [hit(MILL, 0.9)])
    assert judged(question, answer, [hit(MILL, 0.1)]) < firm
    assert judged("Who paid for the cathedral of Burgos?", answer, [hit(MILL, 0.9)]) < firm


def test_in_another_language_a_passage_has_to_bear_on_the_question_as_well():
    answer = "El motor fue construido por Robert Hale."
    near = {(answer, sentence.text): 0.8 for sentence in sentences(MILL)}
    for score, holds in ((0.3, True), (0.05, False)):
        hits = [hit(MILL, score)]
        best = strongest(places("¿Quién construyó el motor?", answer, hits, near, "es"))
        assert best is not None
        assert holds_across(best, hits) is holds


def test_without_a_sentence_there_is_no_evidence():
    assert evidence("Who built it?", [], [hit(MILL)]) is None
    assert strongest([]) is None


def test_a_yes_is_judged_as_a_decision_and_a_name_as_a_fact():
    for answer, kind in (("Yes, it was.", "decision"), ("Sí, lo fue.", "decision"), ("Robert Hale.", "fact")):
        found = evidence("Was it built by Hale?", places("Was it built by Hale?", answer, [hit(MILL)], {}, "en"), [hit(MILL)])
        assert found is not None
        assert found.kind == kind


def test_between_languages_meaning_carries_a_claim_but_never_a_wrong_figure():
    answer = "El motor de vapor fue construido por Robert Hale en 1854."
    near = {(answer, sentence.text): 0.8 for sentence in sentences(MILL)}
    wrong = answer.replace("1854", "1700")
    assert cite("¿Quién construyó el motor?", answer, [hit(MILL)], near, "es").citations
    assert not cite("¿Quién construyó el motor?", answer, [hit(MILL)], {}, "es").citations
    assert not cite(
        "¿Quién construyó el motor?", wrong, [hit(MILL)], {(wrong, s.text): 0.8 for s in sentences(MILL)}, "es"
    ).citations


def test_marks_that_a_model_invents_are_taken_out():
    assert unmarked("Hale built it [3]. It burned [1, 2].") == "Hale built it. It burned."


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("The passages do not mention it.", True),
        ("No se menciona en los pasajes.", True),
        ("", True),
        ("Robert Hale built it.", False),
        ("No, the mill burned in 1902.", False),
    ],
)
def test_a_refusal_is_known_when_it_is_read(answer, refused):
    assert refuses(answer) is refused


def test_an_answer_that_only_says_the_question_again_is_no_answer():
    asked = "¿Qué miembro del Parlamento explicó cómo el museo conservaría la colección?"
    assert vacuous(asked, "El Parlamento explicó cómo el museo conservaría la colección.")
    assert not vacuous(asked, "Lo explicó Bryan Davies.")
    assert not vacuous("Was the engine built by Hale?", "Yes.")


@given(st.text(max_size=300))
def test_sentences_are_exact_spans_in_order(text):
    found = sentences(text)
    assert all(text[one.start : one.end] == one.text for one in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_figures_are_compared_however_they_are_written():
    assert numbers("1,234.5 and 24-10") == numbers("1234.5, 24 to 10")


def test_short_questions_are_given_their_language():
    assert [language_of(q) for q in ("¿Quién ganó?", "hola", "Who won?", "Syncope during bathing in infants")] == [
        "es",
        "es",
        "en",
        "en",
    ]


def test_what_a_dead_host_left_is_folded_in_order():
    def event(seq, kind, **data):
        return RunEvent(run_id="r", seq=seq, kind=kind, data=data)

    past = past_of(
        [
            event(1, "step", name="plan", query="a"),
            event(2, "sources", hits=[{}]),
            event(3, "delta", text="old"),
            event(4, "restarted", attempt=2, reason="x"),
            event(5, "delta", text="new "),
            event(6, "delta", text="text"),
        ]
    )
    assert past.text == "new text"
    assert past.sources
    assert past.steps["plan"]["query"] == "a"


_WORDS = st.sampled_from(
    ["porque", "porquería", "Porqué", "durante", "tell", "the", "a", "7", "½", "⑴x", "ﷺ", "ﬁeld", "Straße", "cafe\u0301s", "İzmir",
     "engine's", "steam-engine", "_x", "ENGINES", "engineer", "ΣΊΣΥΦΟΣ", "한국어", "東京都", "x\ny", "naïveté", "1990", "Ａ１"]
)  # fmt: skip


@given(
    words=st.lists(_WORDS | st.text(max_size=8), max_size=12),
    asked=st.lists(_WORDS | st.text(max_size=8), max_size=6),
    parted=st.sampled_from([" ", ", ", ""]),
)
@example(["porque"], ["porquería"], " ")  # a stop word that is another word's stem
@example(["porque", "Porquería"], ["porquería"], " ")
@example(["the", "thematic"], ["theme"], " ")
@example(["ﷺ"], ["ﷺ"], " ")  # folds to four words, and stays one
@example(["⑴x", "½"], ["1", "⑴x", "½"], " ")
@example(["cafe\u0301s"], ["cafes"], " ")
def test_the_stems_of_a_question_are_found_in_a_passage_as_if_all_of_its_own_were_made(words, asked, parted):
    passage, wanted = parted.join(words), frozenset(stems(" ".join(asked)))
    assert stems_in(passage, wanted) == wanted & frozenset(stems(passage))
