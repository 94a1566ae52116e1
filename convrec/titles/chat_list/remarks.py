"""What a model writes around a list: introductions, closings, labels, details, refusals.

A title may read like any of these ("Hope Floats", "Sorry to Bother You"), so that most rules need a
second sign: lower case after the first word, or the end of a sentence.
"""

from __future__ import annotations

import re

NAME_LABEL = re.compile(
    r"[*_]{0,3}(?:(?:movie|film|book|series|show|item)(?: (?:title|name))?|title|name|titre|titel|"
    r"título|titolo|片名|电影|書名|书名|タイトル)(?: ?#?\d{1,3})?[*_]{0,3}\s?:[*_]{0,3}\s*",
    re.IGNORECASE,
)
"""The label of a title, as in "Title: Heat"."""

YEAR_LABEL = re.compile(
    r"[*_]{0,3}(?:(?:release|publication) )?(?:year|date|released?|published)(?: (?:year|date|in))?"
    r"[*_]{0,3}\s?:[^\d\n]{0,20}(?:\d{1,2}[ ,./-]{1,2}){0,2}(1[4-9]\d\d|20\d\d)\b",
    re.IGNORECASE,
)
"""A detail with the year of the item above."""

_LABEL = re.compile(
    r"[*_]{0,3}(?:(?i:(?:co-)?directors?|directed by|dir\.?|writers?|written by|screenplay|"
    r"authors?|by|cast|starring|stars?|actors?|genres?|sub-?genres?|plot|synopsis|summary|overview|premise|"
    r"description|story|about|reasons?|notes?|ratings?|imdb|score|runtime|length|duration|country|"
    r"language|year|released?|published|tagline|themes?|mood|tone|style|vibes?|watch|available|"
    r"where|streaming|similar|fans|perfect|best|good|keywords?|tags?|awards?|trailer|link|source|"
    r"highlights?|connection|match|appeal|warnings?|budget|box office|pros|cons|comment|"
    r"explanation|justification|rationale|relevance|setting|music|what|how|if you)|"
    r"(?i:why|key|main|content|trigger|release|imdb)(?: [\w'’&]{1,20}){0,2})"
    r"(?:[ /](?:[a-z'’&]{1,20}|I)){0,6}(?: \([^()]{0,40}\))?[*_]{0,3}\s?:"
)
_OPENER = re.compile(
    r"(?:sure|certainly|of course|absolutely|great|okay|ok|alright|got it|no problem|thanks?|"
    r"thank you|you're welcome|my pleasure|happy to|glad|hello|hi|hey)"
    r"\s?(?:[!.]|,\s[a-z]|—|-\s|$)|"
    r"(?:here(?: are| is|'s|’s| you go)|below (?:are|is|you)|"
    r"the following|based on|given|considering|"
    r"since|these(?: are| all| \w+ (?:are|should|all|will|have|share|offer|capture))?|"
    r"(?:each|all|some|many|most|both) of (?:these|them|the)|this list|that said|"
    r"(?:i|we)(?:'d|'ve|'ll|'m|’d|’ve|’ll|’m)? [a-z]+|i hope|let me know|enjoy(?: the| your| these|"
    r" watching| reading)?|hope (?:you|this|these|that)|note that|please|if you|"
    r"feel free|happy (?:watching|viewing|reading)|(?:would|do|can|could|have|are) you|"
    r"what (?:kind|type|genre|sort)|you (?:might|may|can|should|could|will|would)|"
    r"for (?:a|an|more|those|fans)|"
    r"as (?:an?|for|you)|my (?:picks|recommendations|suggestions|list)|have fun|(?:more|other|"
    r"further|additional) (?:films|movies|books|suggestions|recommendations)|"
    r"(?:films|movies|books|titles) (?:like|similar|that|with|for|you)|recommended|"
    r"recommendations|suggestions|top \d+|list of|honou?rable mentions?|bonus)\b"
    r"(?=\s[a-z(]|\s?[:,!.]|$)",
)
_CLOSING = re.compile(
    r"(?:enjoy|happy (?:watching|viewing|reading)|have fun|cheers|thanks?|thank you|good luck|"
    r"hope (?:this|these|it) helps?)(?: .{0,60})?[!.]+\s*\W*$",
    re.IGNORECASE,
)
_CLOSING_TITLE = re.compile(r"[A-Z]\w*(?: [A-Z]\w*)+[.!]?$")
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and as at but by de del der des di du el en et for from il in into is la le les los "
        "no nor not of off on or out over than the to un una und une up upon van versus via von vs "
        "with y",
    )
)
_REFUSAL = re.compile(
    r"\b(?:(?:[Ii]|[Ww]e)(?:'m| am|’m| are)? (?:really |so |very |truly )?(?:sorry|afraid)\b.{0,40}"
    r"?\b(?:can(?:'|’)?t|cannot|can not|unable|not able|won(?:'|’)t|don(?:'|’)t|do not|but|no)\b|"
    r"(?:[Ss]orry|[Aa]pologies|[Uu]nfortunately|[Rr]egrettably)\b.{0,20}?\b(?:can(?:'|’)?t|cannot|"
    r"unable|not able|won(?:'|’)t|don(?:'|’)t|do not)\b|"
    r"(?:[Ii]|[Ww]e) (?:can(?:'|’)?t|cannot|can not|won(?:'|’)t|will not|am (?:unable|not able)|"
    r"must decline|have to decline|do not feel|apologi[sz]e)\b|"
    r"[Ii](?:'|’)m (?:unable|not able|not comfortable|going to have to decline)|"
    r"(?:[Ii]|[Ww]e)(?: do not| don(?:'|’)t) (?:have (?:any|enough|access|personal)|know|feel)|"
    r"[Ii] have no (?:idea|recommendations?|suggestions?)|"
    r"[Aa]s an? (?:AI|ai|artificial|large language|language)\b|"
    r"(?:[Nn]o|[Nn]ot enough|[Ii]nsufficient) (?:information|context|details)\b)"
)
"""In sentence case: "All the Light We Cannot See" is a title."""

_OTHER_REFUSAL = re.compile(
    r"(?:es tut mir leid|leider kann|je suis désolée?|désolée?, |lo siento|lamento|desculpe|"
    r"mi dispiace|"
    r"извините|к сожалению|对不起|抱歉|很抱歉|申し訳|すみません|죄송)",
    re.IGNORECASE,
)
_STILL_A_LIST = re.compile(
    r"\b(?:here(?:'s|’s| are| is)|however|that said|still|nevertheless|recommend|"
    r"suggest)\b",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a text begins with a refusal and does not go on to a list."""
    beginning = text.lstrip()[:400]
    sentence = beginning.split("\n", 1)[0]
    refuses = _REFUSAL.search(sentence[:200]) or _OTHER_REFUSAL.match(sentence)
    return bool(refuses) and not _STILL_A_LIST.search(beginning)


def is_label(line: str) -> bool:
    """Whether a line is a detail with a label, such as "Director: Michael Mann"."""
    return _LABEL.match(line) is not None


def is_remark(line: str) -> bool:
    """Whether a line without a year is a sentence, an introduction or a closing."""
    if _opens_a_remark(line) or (_CLOSING.match(line) and not _CLOSING_TITLE.match(line)):
        return True
    return line.rstrip("*_ ").endswith((":", "\uff1a")) or is_sentence(line)


def is_sentence(line: str) -> bool:
    """Whether a line reads as a sentence: words in lower case that no title has."""
    words = line.split()
    if len(words) < 4:
        return False
    lower = sum(map(_is_lower_content, words))
    if lower + 1 >= len(words) - sum(word.lower() in _FUNCTION_WORDS for word in words):
        lower = max(lower, 2)
    if line.endswith("?"):
        return lower >= 3
    if line.endswith((".", "!", "…", "。", "！")):
        return lower >= 2
    return len(words) >= 9 and lower >= 4


def is_reason(tail: str, head: str, *, after_colon: bool = False) -> bool:
    """Whether the text after a dash or colon explains the title before it."""
    words = tail.split()
    if not words or not any(map(str.isupper, head)):
        return False
    lower = sum(map(_is_lower_content, words))
    if words[0][0].islower() and words[0].lower() not in ("or", "und", "et", "e", "y"):
        return len(words) >= (4 if after_colon else 2)
    if is_label(tail) or words[0] in ("Directed", "Starring", "Dir.", "Stars"):
        return True
    return (len(words) >= 5 and lower >= 2) or (
        tail.endswith((".", "!")) and len(words) >= 4 and lower >= 1
    )


def _opens_a_remark(line: str) -> bool:
    return _OPENER.match(line[:1].lower() + line[1:200]) is not None


def _is_lower_content(word: str) -> bool:
    return word[0].islower() and len(word) > 2 and word.lower().strip(",.") not in _FUNCTION_WORDS
