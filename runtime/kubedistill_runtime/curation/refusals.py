"""Refusals: texts that only decline to answer, in the languages of PHRASES. "I don't know" is not a refusal."""

import re

from kubedistill_runtime.curation.words import WORD, join_items, split_tokens, weigh_text

_MAX_WORDS = 40  # a longer text says more than a refusal
_ENGLISH_NOT = r"(?:can ?not|can t|am unable to|m unable to|am not able to|m not able to|will not|won t)"
# By language, on words without punctuation and case, so that "can't" is "can t" and ı is i. Each phrase declines by
# itself: verbs such as "answer" are missing, because a passage may really not answer a question.
PHRASES: dict[str, str] = {
    "English": rf"i {_ENGLISH_NOT}(?: be able to)? (?:(?:help|assist)(?: you)?(?: with\b| in\b|$)|(?:comply|fulfill?) |"
    r"(?:provide|create|generate|write|discuss) (?:that|this|such|any|content|information|instructions)\b)"
    r"|i must (?:respectfully |politely )?decline"
    rf"|as an ai(?: language model| assistant| model)? i (?:{_ENGLISH_NOT}|don t|do not) ",
    "German": r"(?:da(?:bei|mit) |hier(?:bei)? )?(?:kann|darf) ich (?:\w+ ){0,3}nicht (?:weiter)?(?:helfen|behilflich)"
    r"|ich (?:kann|darf) (?:\w+ ){0,4}nicht (?:\w+ ){0,2}(?:helfen|weiterhelfen|unterstützen|behilflich)"
    r"|(?:ich (?:kann|darf)|(?:kann|darf) ich) (?:diese|ihre|deine) (?:anfrage|bitte) nicht ",
    "French": r"je ne (?:peux|suis) pas (?:en mesure de |capable de )?"
    r"(?:(?:vous |t )?(?:aider|assister)|répondre à (?:cette|votre) demande)|je ne puis (?:vous |t )?aider",
    "Spanish": r"no puedo (?:ayudar(?:te|le)?|asistir(?:te|le)?)(?: con| en|$)|no puedo (?:cumplir|atender) ",
    "Italian": r"non posso (?:aiutar(?:ti|la|vi)|assister(?:ti|la|vi)|soddisfare (?:questa|la tua|la sua) richiesta)",
    "Portuguese": r"não posso (?:ajudar(?: você)?|te ajudar|ajudá lo|atender) ?(?:com|nisso|a |esse|este|$)",
    "Dutch": r"(?:daar|hier)(?:mee|bij)? kan ik (?:\w+ ){0,2}niet (?:mee |bij )?helpen"
    r"|ik kan (?:\w+ ){0,3}niet (?:mee |bij )?helpen",
    "Polish": r"nie mogę (?:ci |pani |panu )?(?:w tym |z tym )?pomóc|nie mogę spełnić ",
    "Russian": r"я не могу (?:вам |тебе )?(?:(?:с|в) этим )?помочь|не могу помочь с "
    r"|я не могу выполнить (?:этот|ваш|твой) запрос",
    "Turkish": r"(?:\w+ ){0,5}yardimci olamam|(?:\w+ ){0,4}(?:isteği|talebi)\w* yerine getiremem",
    "Chinese": r"(?:很)?(?:抱歉|对不起|對不起|不好意思)?我?(?:不能|无法|無法|没办法|沒辦法)(?:[为為向][您你])?"
    r"(?:帮助|幫助|协助|協助|满足|滿足|提供(?:这|這|此|该|該|任何|相关|相關))",
    "Japanese": r"(?:大変)?(?:申し訳|すみません|すいません|恐れ入り|ごめん).{0,40}"
    r"(?:お手伝い|お答え|お応え|対応|協力|お力に)(?:する|なる)?(?:こと)?(?:は|が)?"
    r"(?:でき|出来|致しかね|いたしかね|なれません)",
    "Korean": r"(?:\w+ ){0,6}(?:도와드릴|도와 드릴|도울) 수 (?:\w+ )?없"
    r"|(?:\w+ ){0,4}(?:요청|부탁)\w* (?:들어드릴|수행할|처리할) 수 없",
    "Arabic": r"لا (?:أستطيع|يمكنني|أقدر على) (?:أن )?(?:مساعدتك|المساعدة|أساعدك|تقديم (?:هذه|هذا)|تلبية)",
    "Hindi": r"(?:मैं )?(?:इसमें |इस में |इस विषय में |आपकी )*(?:मदद|सहायता) (?:करने में असमर्थ|नहीं कर)",
}
_APOLOGY = """
i m am im very so really sorry my apologies apologize apologise unfortunately afraid regret but however that
es tut mir leid sehr entschuldigung entschuldigen sie bitte leider aber
je suis désolé désolée navré navrée mais malheureusement lo siento mucho perdón pero lamentablemente
mi dispiace purtroppo ma desculpe sinto muito lamento mas infelizmente
helaas het spijt me maar przykro mi przepraszam niestety ale
извините простите к сожалению мне жаль но üzgünüm maalesef özür dilerim ama
죄송합니다 죄송하지만 미안하지만 미안합니다 عذرا عذرًا آسف أنا للأسف لكن ولكن لكنني ولكنني أعتذر
क्षमा करें माफ़ माफ कीजिए खेद है लेकिन मुझे
"""
_APOLOGIES = frozenset(split_tokens(_APOLOGY))
_TURKISH_I = {ord("ı"): "i", ord("\u0307"): None}  # I is the capital of ı and of i, and İ is folded to i with a dot
_CONTRAST = re.compile(
    r"\b(?:but|however|instead|aber|jedoch|mais|cependant|pero|però|porém|mas|maar|echter|ale|jednak|но|однако|ama|"
    r"ancak|하지만|لكن|ولكن|लेकिन)\b|但|不过|不過|しかし|ただし"
)
_PHRASE = re.compile("|".join(f"(?:{phrase})" for phrase in PHRASES.values()))


def is_refusal(text: str) -> bool:
    """Return whether a string is only a refusal: at most 40 words that begin with one, after an apology at most.

    A string that continues with "but" or "however" is not, since what follows may be an answer.
    """
    if weigh_text(text) > _MAX_WORDS * WORD:
        return False
    items = _split(text)
    first = next((place for place, item in enumerate(items) if item not in _APOLOGIES), len(items))
    return any(_begins_and_ends(join_items(items[place:])) for place in range(first + 1))


def contains_refusal(text: str) -> bool:
    """Return whether a refusal is anywhere in a string, as in an instruction on what to refuse."""
    return _PHRASE.search(join_items(_split(text))) is not None


def _split(text: str) -> list[str]:
    return [token.translate(_TURKISH_I) for token in split_tokens(text)]


def _begins_and_ends(text: str) -> bool:
    found = _PHRASE.match(text)
    return found is not None and _CONTRAST.search(text, found.end()) is None
