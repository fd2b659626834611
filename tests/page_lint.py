"""What holds for every page: valid HTML, one h1, a title, unique ids, labelled fields, nothing inline."""

from xml.etree.ElementTree import Element

import html5lib
from werkzeug.test import TestResponse

HTML = "{http://www.w3.org/1999/xhtml}"
UNLABELLED = {"hidden", "submit", "button"}


def lint(response: TestResponse) -> None:
    """Raise AssertionError with what is wrong with the page."""
    parser = html5lib.HTMLParser(strict=False)
    document = parser.parse(response.get_data(as_text=True))
    faults = [f"{place}: {code}" for place, code, _ in parser.errors]
    elements = list(document.iter())
    faults += _one_of_each(elements)
    faults += _ids_and_labels(elements)
    faults += _nothing_inline(elements, response)
    assert not faults, f"{response.request.path}: " + "; ".join(faults)


def _one_of_each(elements: list[Element]) -> list[str]:
    faults = []
    if sum(element.tag == f"{HTML}h1" for element in elements) != 1:
        faults.append("not exactly one h1")
    titles = [element.text for element in elements if element.tag == f"{HTML}title"]
    if len(titles) != 1 or not (titles[0] or "").strip():
        faults.append("no title")
    return faults


def _ids_and_labels(elements: list[Element]) -> list[str]:
    ids = [element.get("id") for element in elements if element.get("id")]
    faults = [f"id {name} twice" for name in {name for name in ids if ids.count(name) > 1}]
    labelled = {element.get("for") for element in elements if element.tag == f"{HTML}label"}
    for element in elements:
        if element.tag not in {f"{HTML}input", f"{HTML}select", f"{HTML}textarea"}:
            continue
        if element.get("type") in UNLABELLED or element.get("aria-label"):
            continue
        if element.get("id") not in labelled:
            faults.append(f"field {element.get('name')} has no label")
    return faults


def _nothing_inline(elements: list[Element], response: TestResponse) -> list[str]:
    policy = response.headers.get("Content-Security-Policy", "")
    faults = []
    for element in elements:
        is_inline = element.tag == f"{HTML}script" and not element.get("src")
        if is_inline and f"'nonce-{element.get('nonce')}'" not in policy:
            faults.append("inline script without this answer's nonce")
        faults += [f"inline {name}" for name in element.attrib if name.startswith("on") or name == "style"]
    return faults
