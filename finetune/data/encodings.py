"""Decodes a file in any encoding: if the encoding cannot be detected safely, it is an error."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

MARKS = {  # UTF-32 comes first, because its mark begins with the mark of UTF-16
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""Byte order marks and the codecs for them. These codecs read the byte order from the mark."""

SIMPLIFIED = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发"
    "后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开"
    "但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并"
    "物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先"
    "海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才"
    "结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书"
    "非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领"
    "共确传师观清今切院让识候带导争运评差店服质价吃买卖喜欢谢请您吗呢吧啊每快错般息问答"
)
"""About 400 of the commonest characters of simplified Chinese. They make up about three quarters of
the characters of a modern text."""
TRADITIONAL = frozenset(
    "這個們來為國說時會對過發後裡種經麼學現當沒動還進樣開從實軍無與長機關點業將兩間問並應戰頭體見"
    "產話給門兒東聲員論處義幾認條氣題爾別變總電數報結務場計資許統區隊決馬書則聽卻達強難權設記類據"
    "邊張該規萬覺術領確傳師觀讓識帶導爭運評質價買賣歡謝請嗎錯無於著樂師網愛歲麗灣親寫讀語訊號"
)
"""Common characters of traditional Chinese that are written differently in simplified Chinese."""
KOREAN = frozenset(
    "니는다이하을가은어지저있아습의요에고나로너해그수기입제를것한무정사인신합만야게프당까없스말서할않대리"
    "엇적들자라좋구심도마터시감주모장학분생부소트일드전안화세느과거으뭐경면컴보우각미행래했문동상용든실"
    "누식질음려간내렇같파영계되때노오통관물유여크람많더비표운중현금성명개방매연작력국책왜군원진속른란"
)
"""The commonest syllables of Korean."""
PUNCTUATION = frozenset("，。！？、；：“”‘’（）《》「」『』【】…—～·　")
JAPANESE = frozenset(map(chr, range(0x3041, 0x30FF))) | SIMPLIFIED | TRADITIONAL
ASCII = frozenset(map(chr, range(0x20, 0x7F))) | frozenset("\t\r\n")
LATIN = frozenset(map(chr, range(0xC0, 0x250)))
CYRILLIC = frozenset(map(chr, range(0x410, 0x450)))
WESTERN_LETTERS = (
    "àâæçéèêëîïôœùûü",
    "äöüß",
    "áéíóúñü¿¡",
    "áâãàçéêíóôõú",
    "àèéìòùí",
    "åäöé",
    "åæøé",
)
CENTRAL_LETTERS = (
    "ąćęłńóśźż",
    "áčďéěíňóřšťúůýž",
    "áäčďéíľňóôšťúýž",
    "áéíóöőúüű",
    "ăâîşţ",
    "čćđšž",
)
CYRILLIC_LETTERS = ("оеаинтсрвлкмдпу", "оаіниітверсклудмпя")
"""The frequent letters of each language. Rare letters are left out, because a text that is decoded
with the wrong Cyrillic encoding consists of Cyrillic letters too."""
LATIN_PUNCTUATION = frozenset("“”‘’–—…€«»°§")

MIN_CHARACTERS = 8
"""The encoding of a text is certain only if the text has this many characters beyond ASCII."""
MIN_SHARE = 0.45
"""The encoding is certain only if at least this share of them is common in its language."""
MIN_LEAD = 0.15
"""The encoding is certain only if its share is larger by this much than the share of the next
likeliest encoding."""
SAMPLE = 20_000
"""The number of bytes, in lines that are not ASCII, that are used to detect an encoding."""


@dataclass(frozen=True)
class Candidate:
    """A family of encodings, with the characters that are common in their texts."""

    encodings: tuple[str, ...]
    """Python's names of the encodings. The first that decodes a text is used."""
    common: tuple[frozenset[str], ...]
    """The common characters, one set for each language."""
    double_byte: bool = False
    """Whether a text in another encoding usually fails to decode. It does in a double-byte
    encoding; a single-byte encoding decodes nearly every file, so that success proves nothing."""


CANDIDATES = (
    Candidate(("gb18030",), (SIMPLIFIED | PUNCTUATION,), True),
    Candidate(("cp950", "big5hkscs"), (SIMPLIFIED | TRADITIONAL | PUNCTUATION,), True),
    Candidate(("cp932",), (JAPANESE | PUNCTUATION,), True),
    Candidate(("euc_jp",), (JAPANESE | PUNCTUATION,), True),
    Candidate(("cp949",), (KOREAN | PUNCTUATION,), True),
    *(
        Candidate((encoding,), tuple(frozenset(letters) | LATIN_PUNCTUATION for letters in sets))
        for encoding, sets in {
            "cp1252": WESTERN_LETTERS,
            "cp1251": CYRILLIC_LETTERS,
            "cp1250": CENTRAL_LETTERS,
            "cp1254": ("çğıöşüâîİ",),
            "cp1253": ("αοιετσνηυρπκμλςάόίέή",),
            "koi8_r": CYRILLIC_LETTERS,
            "cp866": CYRILLIC_LETTERS,
            "cp850": WESTERN_LETTERS,
            "mac_roman": WESTERN_LETTERS,
        }.items()
    ),
)


@dataclass(frozen=True)
class Decoded:
    """The text of a file and its encoding."""

    text: str
    """The text without a byte order mark."""
    encoding: str | None = None
    """Python's name of the encoding. None: UTF-8."""


def decode(data: bytes, name: str, encoding: str | None = None) -> Decoded:
    """Decodes the bytes of a file.

    A file that is valid UTF-8 is decoded as UTF-8, whatever `encoding` is.

    Args:
        data: the bytes of the file.
        name: the name of the file, for messages.
        encoding: the encoding if the file is not UTF-8. None: it is detected from the byte order
            mark, or from the common characters of Chinese, Japanese and Korean.

    Raises:
        ValueError: the encoding is wrong or not certain. The message shows the first byte that is
            not UTF-8, the line with this byte in the likeliest encodings, and the setting that
            chooses one of them.
    """
    for mark, marked in MARKS.items():
        if data.startswith(mark):
            return Decoded(_decoded(data, name, marked), marked)
    fault = data.find(b"\0")
    try:
        text = data.decode("utf-8-sig")
        if fault < 0:
            return Decoded(text)
    except UnicodeDecodeError as error:
        fault = error.start
    if encoding is not None:
        return Decoded(_decoded(data, name, encoding), encoding)
    if b"\0" in data:
        decoded = _without_mark(data)
        if decoded is not None:
            return decoded
        place = _place(data, data.index(b"\0"))
        raise ValueError(
            f"{name} is not text: {place}; export a spreadsheet as CSV, unpack an archive, remove "
            "a stray byte, or name the encoding, e.g. --data.encoding utf-16-le"
        )
    place = _place(data, fault)
    number = data.count(b"\n", 0, fault) + 1
    line = data.split(b"\n", number)[number - 1].strip()
    good, bad = _utf8_counts(data)
    if good > 4 * bad:
        shown = _around(line.decode("utf-8", "replace"))
        raise ValueError(
            f"{name} is UTF-8 except for {bad} broken bytes, the first is {place}: {shown}; write "
            "these characters again, or save the file again as UTF-8"
        )
    ranked = _ranked(data)
    if ranked and ranked[0].certain:
        try:
            return Decoded(data.decode(ranked[0].encoding), ranked[0].encoding)
        except UnicodeDecodeError:
            pass  # the rest of the file is not in the encoding of the sample
    readings: dict[str, str] = {}
    for reading in ranked:
        readings.setdefault(_around(line.decode(reading.encoding, "replace")), reading.encoding)
    first, *others = list(readings.items())[:3]
    raise ValueError(
        f"{name} is not UTF-8: {place}, and its encoding is not certain; --data.encoding "
        f"{first[1]} reads {first[0]}"
        + "".join(f", {other} reads {shown}" for shown, other in others)
        + "; give the encoding that reads it right, or any other that Python knows"
    )


def check_encoding(encoding: str) -> None:
    """Checks that Python has a text encoding of this name.

    Raises:
        ValueError: it has none.
    """
    try:
        b"a".decode(encoding)
    except LookupError:
        raise ValueError(
            f"data: encoding is {encoding!r}, which Python does not know; write e.g. gb18030, "
            "big5, shift_jis, euc_kr, cp1252, cp1251 or utf-16"
        ) from None
    except UnicodeError:
        pass  # the encoding exists, and one byte is too short for it


def first_foreign_line(text: str) -> tuple[int, str]:
    """The number (from 1) of the first line that is not ASCII, and a part of it for a message."""
    offset = _first_foreign(text)
    start, end = text.rfind("\n", 0, offset) + 1, text.find("\n", offset)
    line = text[start : end if end >= 0 else None].strip()
    return text.count("\n", 0, offset) + 1, _around(line)


def _first_foreign(text: str) -> int:
    """The index of the first character beyond ASCII; 0 if there is none."""
    return next((index for index, char in enumerate(text) if char > "\x7f"), 0)


def _decoded(data: bytes, name: str, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "replace")
        line = before.count("\n") + 1
        raise ValueError(
            f"{name} is not {encoding}: byte 0x{data[error.start]:02x} at offset {error.start}, "
            f"line {line}; give another data.encoding, or leave it out to detect the encoding"
        ) from None


def _place(data: bytes, offset: int) -> str:
    line = data.count(b"\n", 0, offset) + 1
    return f"byte 0x{data[offset]:02x} at offset {offset}, line {line}"


def _around(line: str) -> str:
    """The part of a line around its first character beyond ASCII, for a message."""
    start = max(_first_foreign(line) - 15, 0)
    part = line[start : start + 45]
    return repr("..." * (start > 0) + part + "..." * (start + 45 < len(line)))


def _utf8_counts(data: bytes) -> tuple[int, int]:
    """How many characters beyond ASCII are valid UTF-8, and how many bytes are not."""
    text = data.decode("utf-8", "surrogateescape")
    bad = sum("\udc80" <= char <= "\udcff" for char in text)
    return sum(char > "\x7f" for char in text) - bad, bad


def _without_mark(data: bytes) -> Decoded | None:
    """Decodes a file with zero bytes as UTF-16 without a byte order mark.

    UTF-16 is tried because texts in the other encodings here have no zero bytes. None: the file
    is not a text.
    """
    common = ASCII | LATIN | CYRILLIC | JAPANESE | KOREAN | PUNCTUATION
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        controls = [char for char in set(text) - ASCII if unicodedata.category(char)[0] == "C"]
        if not controls and sum(char in common for char in text) > len(text) / 2:
            return Decoded(text, encoding)
    return None


@dataclass(frozen=True)
class _Reading:
    """A sample of a file, decoded by one encoding."""

    encoding: str
    text: str
    share: float
    """The share of the characters beyond ASCII that are common, see `_share`."""
    certain: bool = False
    """Whether this is surely the encoding of the file."""


def _ranked(data: bytes) -> list[_Reading]:
    """The lines that are not ASCII, decoded by each candidate, with the likeliest first."""
    lines: list[bytes] = []
    size = 0
    for line in data.split(b"\n"):  # in these encodings no longer character contains this byte
        if not line.isascii():
            lines.append(line)
            size += len(line)
            if size > SAMPLE:
                break
    sample = b"\n".join(lines)
    readings = []
    for candidate in CANDIDATES:
        for encoding in candidate.encodings:
            try:
                text = sample.decode(encoding)
            except UnicodeDecodeError:
                continue
            readings.append((_Reading(encoding, text, _share(text, candidate)), candidate))
            break
    readings.sort(key=lambda reading: -reading[0].share)
    first, candidate = readings[0]
    others = [reading.share for reading, _ in readings if reading.text != first.text]
    certain = (
        candidate.double_byte
        and sum(char > "\x7f" for char in first.text) >= MIN_CHARACTERS
        and first.share >= MIN_SHARE
        and first.share - max(others, default=0.0) >= MIN_LEAD
    )
    ranked = [reading for reading, _ in readings]
    return [_Reading(first.encoding, first.text, first.share, certain), *ranked[1:]]


def _share(text: str, candidate: Candidate) -> float:
    """The share of the characters beyond ASCII that are common in a language of the candidate.

    The language with the largest share counts.
    """
    foreign = [
        (before, char, after)
        for before, char, after in zip(f" {text}", text, f"{text[1:]} ", strict=False)
        if char > "\x7f"
    ]
    shares = []
    for common in candidate.common:
        hits = 0.0
        for before, char, after in foreign:
            if candidate.double_byte and before.isascii() and after.isascii():
                # Bytes of a Latin word can decode to a Chinese character between letters: fr閏e.
                hits += char in common and not (before.isalpha() and after.isalpha())
            elif char in common:
                hits += 1
            elif char.lower() in common:  # capitals are at the start of a word or among capitals
                hits += 0.0 if before.islower() else 0.5 if before.isalpha() else 1.0
        shares.append(hits / len(foreign))
    return max(shares)
