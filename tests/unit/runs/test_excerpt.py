"""What the model reads of what was found."""

import pytest

from actors.runs.excerpt import GAP, excerpts, shares
from perenne.messages.search import Hit

MILL = (
    "The mill stands by the river. Its steam engine was built by Robert Hale in 1854. Forty looms were driven by it. "
    "In 1902 the mill burned down. A bakery stands there now."
)
FISH = "Salmon return in spring. They climb the weir at night. Nobody has counted them since 1990."


def hit(text: str, score: float, id: int) -> Hit:
    return Hit(chunk_id=id, document_id=f"doc_{id}", title="", text=text, start=0, end=len(text), score=score)


def test_what_fits_is_read_whole():
    hits = [hit(MILL, 0.9, 1), hit(FISH, 0.4, 2)]
    assert excerpts("Who built the engine?", hits, [60, 30], 90, {}) == hits


def test_a_passage_that_hardly_bears_on_the_question_is_not_read():
    assert [one.chunk_id for one in excerpts("Who?", [hit(MILL, 0.9, 1), hit(FISH, 0.01, 2)], [60, 30], 500, {})] == [1]


def test_of_a_passage_that_does_not_fit_the_sentences_nearest_to_the_question_are_read_in_their_order():
    (one,) = excerpts("Which engine burned down with the mill?", [hit(MILL, 0.9, 1)], [60], 42, {})
    assert (
        one.text
        == f"The mill stands by the river. Its steam engine was built by Robert Hale in 1854.{GAP}In 1902 the mill burned down."
    )
    assert (one.start, one.end) == (0, len(MILL)), "it is still the whole passage that is cited"


def test_meaning_finds_a_sentence_that_shares_no_word():
    bakery = "A bakery stands there now."
    (one,) = excerpts("Where is bread sold?", [hit(MILL, 0.9, 1)], [60], 12, {bakery: 0.8})
    assert bakery in one.text


def test_a_second_passage_is_read_although_the_first_alone_would_fill_the_room():
    read = excerpts("When do salmon climb the weir?", [hit(MILL, 0.5, 1), hit(FISH, 0.5, 2)], [60, 30], 45, {})
    assert [one.chunk_id for one in read] == [1, 2]
    assert "They climb the weir at night." in read[1].text
    assert sum(len(one.text) for one in read) <= 45 / 90 * (len(MILL) + len(FISH)) + 2


def test_the_best_passage_is_always_read_be_it_cut():
    endless = "engine " * 200
    (one,) = excerpts("Which engine?", [hit(endless, 0.9, 1), hit(FISH, 0.2, 2)], [400, 30], -20, {})
    assert one.chunk_id == 1
    assert endless.startswith(one.text)
    assert 0 < len(one.text) <= 200


@pytest.mark.parametrize(
    ("scores", "costs", "budget", "given"),
    [
        ([0.9, 0.1], [100, 100], 100, [90.0, 10.0]),
        ([0.8, 0.2], [40, 100], 100, [40.0, 60.0]),  # what the first can't use goes to the second
        ([0.5, 0.5], [10, 10], 100, [10.0, 10.0]),
        ([0.0, 0.0], [10, 10], 10, [5.0, 5.0]),
        ([0.5, 0.5], [10, 10], 0, [0.0, 0.0]),
    ],
)
def test_shares_follow_the_scores_and_never_exceed_what_a_passage_costs(scores, costs, budget, given):
    assert shares([hit("x", score, n) for n, score in enumerate(scores)], costs, budget) == pytest.approx(given)
