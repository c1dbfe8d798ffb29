"""Whether answers are right, cited and declined: `python -m benchmarks.answers --samples DIR`.

Through the real cores in this process (store, index, runs, the default models); with `--url` and PERENNE_KEY against a running
instance. Each answerable question is also put to the same model with the right passage alone: what it then contains is the
bound of what any retrieval can give. Prints every miss; writes build/bench/answers.json."""

import argparse
import asyncio
import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from actors.models.replicas import LanguageReplica
from actors.runs.prompt import grounded_messages
from actors.runs.words import numbers, stems, words
from benchmarks.house import USER, House, Text, corpus, samples_of
from benchmarks.questions.draw import SEED, Draw, Drawn, draw
from benchmarks.report import Figure, publish
from perenne import names
from perenne.api import Perenne, decode
from perenne.following import follow_run
from perenne.ids import new_id
from perenne.messages.commands import PostMessage
from perenne.messages.models import ChatMessage, GenerateRequest
from perenne.messages.records import Citation
from perenne.messages.search import Hit

HELD_WORDS = 0.6  # of a claim's words that must stand in the cited passage, where it is not the judged one


@dataclass
class Given:
    """What came back for one question."""

    text: str = ""
    grounded: bool = False
    citations: tuple[Citation, ...] = ()
    sources: tuple[Hit, ...] = ()
    error: str = ""
    steps: dict[str, Any] = field(default_factory=dict)


Ask = Callable[[str], Awaitable[Given]]
Bare = Callable[[tuple[ChatMessage, ...]], Awaitable[str]]


def contains(drawn: Drawn, text: str) -> bool:
    """The judged answer stands in it; for yes/no, it begins with the right word."""
    said = words(text)
    if drawn.decision:
        return bool(said) and {"si": "yes"}.get(said[0], said[0]) == drawn.answers[0]
    flat = " ".join(said)
    for answer in drawn.answers:
        wanted = words(answer)
        if f" {' '.join(wanted)} " in f" {flat} ":
            return True
        carried = stems(answer)
        if carried and len(set(carried) & set(stems(text))) >= 0.8 * len(set(carried)):
            return True
    return False


def judged(drawn: Drawn, citation: Citation, passage: str) -> bool:
    """Without a look at words in common: the cited passage is the judged one, or a judged answer stands in it."""
    return citation.external_id == drawn.document or (not drawn.decision and contains(drawn, passage))


def holds(drawn: Drawn, answer: str, citation: Citation, passage: str) -> bool:
    """The cited passage holds the claim: it is the judged one and the answer is right, or it has the claim's words and figures."""
    if citation.external_id == drawn.document and contains(drawn, answer):
        return True
    claim = re.sub(r"\[\d+\]", "", answer[citation.answer_start : citation.answer_end])
    carried = set(stems(claim)) - set(stems(drawn.text))
    if numbers(claim) - numbers(passage + drawn.text):
        return False
    return not carried or len(carried & set(stems(passage))) >= HELD_WORDS * len(carried)


async def in_process(samples: Path, given: argparse.Namespace, drawn: Draw) -> tuple[Ask, Bare]:
    """The cores of an instance in this process."""
    house = House(given.home or Path(tempfile.mkdtemp(prefix="perenne-answers-")), given.models.resolve())
    house.directory.put(names.LANGUAGE, LanguageReplica(house.settings))
    await house.begin()
    project = await house.mixed(samples, drawn.leave_out)

    async def ask(question: str) -> Given:
        run_id = new_id("run")
        await house.store.write(
            PostMessage(
                command_id=new_id("cmd"),
                user_id=USER,
                conversation_id=new_id("cnv"),
                message_id=new_id("msg"),
                reply_id=new_id("msg"),
                run_id=run_id,
                text=question,
                project_id=project,
            )
        )
        await house.directory.call(names.RUN_HOST, "start", timeout_s=5.0, run_id=run_id)
        return await gathered(follow_run(house.directory, house.store, USER, run_id))

    async def bare(messages: tuple[ChatMessage, ...]) -> str:
        request = GenerateRequest(request_id=new_id("ref"), messages=messages, max_tokens=320, temperature=0.0, seed=1)
        stream = house.directory.stream(names.LANGUAGE, "stream", silence_s=120.0, request=request)
        return "".join([chunk.text async for chunk in stream])

    return ask, bare


async def gathered(events: Any) -> Given:
    """A run's events as one answer."""
    found = Given()
    async for event in events:
        if event.kind == "step":
            found.steps[str(event.data.get("name"))] = event.data
        elif event.kind == "sources":
            found.sources = decode(tuple[Hit, ...], event.data["hits"])
        elif event.kind == "error":
            found.error = str(event.data.get("message"))
        elif event.kind == "done":
            found.text, found.grounded = event.data["text"], bool(event.data["grounded"])
            found.citations = decode(tuple[Citation, ...], event.data["citations"])
    return found


async def over_http(samples: Path, given: argparse.Namespace, drawn: Draw) -> tuple[Ask, Bare]:
    """A running instance, filled with the corpus by this call."""
    import json

    import perenne

    key = os.environ["PERENNE_KEY"]
    client: Perenne = perenne.connect(given.url, key=key)  # pyright: ignore[reportAttributeAccessIssue]
    project = await client.ensure_project("answers")
    if not project.documents:
        texts: list[Text] = [
            t for part in ("squad-es", "pubmedqa") for t in corpus(samples, part) if t.id not in drawn.leave_out
        ]
        path = Path(tempfile.mkstemp(suffix=".jsonl")[1])
        await asyncio.to_thread(path.write_text, "".join(json.dumps(asdict(text)) + "\n" for text in texts), "utf-8")
        await client.wait_job((await client.add_jsonl(path, project.id)).id)
    web = httpx.AsyncClient(base_url=given.url, headers={"Authorization": f"Bearer {key}"}, timeout=300.0)
    model = next(m["id"] for m in (await web.get("/v1/models")).json()["data"] if not m["id"].startswith("perenne"))

    async def ask(question: str) -> Given:
        posted = await client.post(question, project=project.id)
        return await gathered(client.events(posted.run.id))

    async def bare(messages: tuple[ChatMessage, ...]) -> str:
        body = {"model": model, "messages": [asdict(m) for m in messages], "temperature": 0.0, "max_tokens": 320}
        answer = await web.post("/v1/chat/completions", json=body)
        return str(answer.raise_for_status().json()["choices"][0]["message"]["content"])

    return ask, bare


def gold_hit(drawn: Drawn, text: str) -> Hit:
    """The right passage as the prompt takes it."""
    return Hit(chunk_id=0, document_id=drawn.document, title="", text=text, start=0, end=len(text), score=1.0)


@dataclass
class Tally:
    """Counts and misses over all questions."""

    asked: int = 0
    answerable: int = 0
    contained: int = 0
    bound: int = 0
    declined_wrongly: int = 0
    unanswerable: int = 0
    declined_rightly: int = 0
    citations: int = 0
    held: int = 0
    of_right: int = 0
    of_right_judged: int = 0
    found: int = 0
    misses: list[dict[str, Any]] = field(default_factory=list)

    def take(self, drawn: Drawn, given: Given, reference: str | None) -> None:
        """Count one question."""
        self.asked += 1
        declined = not given.grounded
        about = {"id": drawn.id, "question": drawn.text, "answer": given.text or given.error, "wanted": drawn.answers}
        about |= {"decline": given.steps.get("decline", {}).get("why"), "reference": reference}
        if drawn.answerable:
            self.answerable += 1
            self.found += any(hit.external_id == drawn.document for hit in given.sources[:3])
            right = not declined and contains(drawn, given.text)
            bound = reference is not None and contains(drawn, reference)
            self.contained += right
            self.bound += bound
            self.declined_wrongly += declined
            if declined or (bound and not right):
                self.misses.append({"miss": "declined an answerable question" if declined else "lacks the answer", **about})
        else:
            self.unanswerable += 1
            self.declined_rightly += declined
            if not declined:
                self.misses.append({"miss": "answered an unanswerable question", **about})
        passages = {hit.chunk_id: hit.text for hit in given.sources}
        for citation in given.citations:
            self.citations += 1
            passage = passages.get(citation.chunk_id, citation.quote)
            held = holds(drawn, given.text, citation, passage)
            self.held += held
            if drawn.answerable and contains(drawn, given.text):
                self.of_right += 1
                self.of_right_judged += judged(drawn, citation, passage)
            if not held:
                self.misses.append({"miss": "a citation does not hold the claim", "quote": citation.quote, **about})

    def figures(self) -> list[Figure]:
        """Against the goals."""
        share = lambda part, whole: part / whole if whole else 0.0  # noqa: E731
        return [
            Figure("answers that contain the judged one", self.contained, self.bound, "questions", "ratio >= 0.85"),
            Figure("citations that hold the claim", share(self.held, self.citations), None, "share", "ours >= 0.9"),
            Figure(
                "citations of right answers whose passage is judged",
                share(self.of_right_judged, self.of_right),
                None,
                "share",
                note="by the collection's judgements alone, not by words in common",
            ),
            Figure(
                "unanswerable questions declined", share(self.declined_rightly, self.unanswerable), None, "share", "ours >= 0.8"
            ),
            Figure(
                "answerable questions declined", share(self.declined_wrongly, self.answerable), None, "share", "ours <= 0.1"
            ),
            Figure("judged passage among the first three sources", share(self.found, self.answerable), None, "share"),
        ]


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples")
    parser.add_argument("--models", default="build/models", type=Path)
    parser.add_argument("--home", type=Path, help="keep the instance here and use it again")
    parser.add_argument("--url", help="a running instance; its key in PERENNE_KEY")
    parser.add_argument("--seed", default=SEED)
    parser.add_argument("--answerable", type=int, default=22, help="of each language")
    parser.add_argument("--unanswerable", type=int, default=8, help="of each language")
    given = parser.parse_args()
    samples = samples_of(given.samples)
    drawn = draw(samples, given.seed, given.answerable, given.unanswerable)
    ask, bare = await (over_http if given.url else in_process)(samples, given, drawn)
    tally = Tally()
    for one in drawn.questions:
        answered = await ask(one.text)
        reference = None
        if one.answerable:
            hit = gold_hit(one, drawn.gold[one.document])
            reference = await bare(grounded_messages(one.text, [hit], (), one.language))
        before = len(tally.misses)
        tally.take(one, answered, reference)
        for miss in tally.misses[before:]:
            print(miss, flush=True)
        print(f"{tally.asked}/{len(drawn.questions)}", flush=True)
    publish("answers", tally.figures(), misses=tally.misses, seed=given.seed)


if __name__ == "__main__":
    asyncio.run(main())
