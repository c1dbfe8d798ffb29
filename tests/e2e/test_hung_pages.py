"""A page of a list whose request hangs: what happens elsewhere is shown all the same, by the socket and by the clock."""

from typing import Any

from playwright.sync_api import expect

from tests.e2e.fake_instance import KEY, FakeInstance
from tests.e2e.waiting import standing, ticking, until

SOON_MS = 4_000  # less than a request that hangs is given


class Held:
    """Holds back every request for a page after the first, while it `hangs`."""

    def __init__(self, page: Any, kind: str) -> None:
        self.hangs = True
        self.routes: list[Any] = []
        page.route(f"**/api/{kind}?*after=*", self._meet)

    def _meet(self, route: Any) -> None:
        self.routes.append(route) if self.hangs else route.continue_()

    def let_go(self) -> None:
        self.hangs = False
        self.routes[-1].continue_()  # those before it were given up by the page


def chats(page: Any) -> Any:
    return page.get_by_role("list", name="Conversations").get_by_role("listitem")


def many(fake: FakeInstance) -> None:
    for number in range(150):
        fake.converse(f"cnv_{number}", f"Question {number}")


def test_news_comes_while_an_older_page_of_chats_hangs(new_page: Any, fake: FakeInstance) -> None:
    # A page that hung held back the news of its own list, and of every other one, for minutes.
    fake.feed.stands = True
    many(fake)
    page = new_page()
    page.goto(f"{fake.address}/?view=documents#key={KEY}")
    expect(chats(page)).to_have_count(100)
    standing(fake, page)
    held = Held(page, "conversations")
    page.get_by_role("button", name="Show older chats").click()
    until(page, lambda: bool(held.routes))
    fake.converse("cnv_new", "While the next page hung")
    expect(chats(page).first).to_have_text("While the next page hung", timeout=SOON_MS)
    until(page, lambda: len(held.routes) > 1)  # asked for again
    held.let_go()
    expect(chats(page)).to_have_count(151)

    held.hangs = True  # both pages are shown now, and read anew: the second hangs
    asked = len(held.routes)
    fake.converse("cnv_0", "Question 0")
    expect(chats(page).first).to_have_text("Question 0", timeout=SOON_MS)
    until(page, lambda: len(held.routes) > asked)
    expect(chats(page)).to_have_count(151)
    fake.add("guide.md", b"The bridge at Orla is 212 metres long.\n")
    documents = page.get_by_role("list", name="Documents of this project").get_by_role("listitem")
    expect(documents.filter(has_text="guide.md")).to_have_count(1, timeout=SOON_MS)
    fake.converse("cnv_last", "And one more")
    expect(chats(page).first).to_have_text("And one more", timeout=12_000)
    held.let_go()


def test_news_comes_while_a_page_of_documents_hangs(new_page: Any, fake: FakeInstance) -> None:
    fake.feed.stands = True
    for number in range(70):
        fake.add(f"guide {number}.md", b"The bridge at Orla is 212 metres long.\n")
    page = new_page()
    page.goto(f"{fake.address}/?view=documents#key={KEY}")
    documents = page.get_by_role("list", name="Documents of this project").get_by_role("listitem")
    expect(documents).to_have_count(50)
    standing(fake, page)
    page.get_by_role("button", name="Show more", exact=True).click()
    expect(documents).to_have_count(70)
    held = Held(page, "documents")
    fake.documents["doc_1"]["title"] = "another title.md"
    fake.feed.tell("document", "doc_1")
    expect(documents.first).to_contain_text("another title.md", timeout=SOON_MS)
    expect(documents).to_have_count(70)
    until(page, lambda: bool(held.routes))
    held.let_go()


def test_the_clock_goes_on_while_an_older_page_hangs(new_page: Any, fake: FakeInstance) -> None:
    many(fake)
    page = new_page()
    page.clock.install()
    page.goto(f"{fake.address}/#key={KEY}")
    expect(chats(page)).to_have_count(100)
    page.get_by_role("button", name="Show older chats").click()
    expect(chats(page)).to_have_count(150)
    held = Held(page, "conversations")
    for number in (1, 2):
        fake.converse(f"cnv_new_{number}", f"Asked elsewhere {number}")
        ticking(page, chats(page).filter(has_text=f"Asked elsewhere {number}"))
    held.let_go()
