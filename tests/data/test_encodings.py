"""Encodings on texts of several languages: read where certain, else refused with the right name."""

from __future__ import annotations

import pytest

from finetune.data.encodings import check_encoding, decode

CHINESE = (
    "text,label\n"
    + "这家店的东西很好吃，下次还会再来。,好评\n等了一个小时都没有人理我们，非常差。,差评\n"
)
TRADITIONAL = (
    "text,label\n這家店的東西很好吃，下次還會再來。,好評\n等了一個小時都沒有人理我們。,差評\n"
)
JAPANESE = (
    "text,label\nこの店のラーメンはとてもおいしかったです。,good\nもう二度と行きません。,bad\n"
)
KOREAN = (
    "text,label\n이 가게는 음식이 정말 맛있고 친절합니다.,good\n다시는 가지 않을 것입니다.,bad\n"
)
FRENCH = "text,label\nLe café était très bon et le garçon à côté aussi.,positif\nDéçu.,négatif\n"
GERMAN = "text;label\nDas Essen war schön und die Bedienung höflich, größer als früher.;gut\n"
SPANISH = "text,label\nLa comida está riquísima, volveré mañana con mi niño.,sí\n"
PORTUGUESE = "text,label\nA refeição não é má, mas o pão já não está à mão.,bom\n"
POLISH = "text,label\nJedzenie było świetne, a obsługa bardzo miła, wrócę tu jeszcze.,ok\n"
RUSSIAN = (
    "text,label\nЕда была очень вкусная, обязательно приду ещё раз.,хорошо\nДолго ждали.,плохо\n"
)

READ = [
    (CHINESE, "gb18030", "gb18030"),
    (CHINESE, "gbk", "gb18030"),
    (CHINESE, "utf-16", "utf-16"),
    (CHINESE, "utf-16-le", "utf-16-le"),
    (CHINESE, "utf-16-be", "utf-16-be"),
    (CHINESE, "utf-32", "utf-32"),
    (CHINESE, "utf-8", None),
    (CHINESE, "utf-8-sig", None),
    (TRADITIONAL, "big5", "cp950"),
    (TRADITIONAL, "cp950", "cp950"),
    (JAPANESE, "cp932", "cp932"),
    (JAPANESE, "euc_jp", "euc_jp"),
    (JAPANESE, "utf-16", "utf-16"),
    (KOREAN, "cp949", "cp949"),
    (KOREAN, "euc_kr", "cp949"),
    (FRENCH, "utf-16", "utf-16"),
    (FRENCH, "utf-16-le", "utf-16-le"),
    (RUSSIAN, "utf-16-le", "utf-16-le"),
    (GERMAN, "utf-8", None),
]
ASCII_ROWS = "text,label\n" + "a plain row of plain words,good\n" * 40


@pytest.mark.parametrize(("text", "written", "told"), READ)
def test_a_certain_encoding_is_read(text: str, written: str, told: str | None) -> None:
    decoded = decode(text.encode(written), "a.csv")
    assert (decoded.text, decoded.encoding) == (text, told)


def test_a_few_rows_among_many_of_ascii_are_enough() -> None:
    text = ASCII_ROWS + CHINESE.partition("\n")[2]
    assert decode(text.encode("gbk"), "a.csv").text == text


REFUSED = [
    (FRENCH, "cp1252"),
    (FRENCH, "mac_roman"),
    (FRENCH, "cp850"),
    (GERMAN, "cp1252"),
    (SPANISH, "cp1252"),
    (PORTUGUESE, "cp1252"),
    (POLISH, "cp1250"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8_r"),
    (RUSSIAN, "cp866"),
]


@pytest.mark.parametrize(("text", "written"), REFUSED)
def test_a_single_byte_encoding_is_refused_with_its_line_decoded(text: str, written: str) -> None:
    for content in (text, ASCII_ROWS + text.partition("\n")[2], text * 30):
        with pytest.raises(ValueError, match="is not UTF-8: byte 0x") as caught:
            decode(content.encode(written), "a.csv")
        message = str(caught.value)
        assert f"--data.encoding {written} reads '" in message
        shown = message.partition(f"{written} reads ")[2][1:20].removeprefix("...")
        assert shown in text
        assert decode(content.encode(written), "a.csv", written).text == content


def test_too_few_characters_are_no_proof() -> None:
    with pytest.raises(ValueError, match=r"--data\.encoding gb18030 reads '好,1'"):
        decode("text,label\n好,1\n坏,2\n".encode("gbk"), "a.csv")


def test_what_is_utf_8_is_never_read_as_anything_else() -> None:
    assert decode(CHINESE.encode(), "a.csv", "gb18030").text == CHINESE
    broken = CHINESE.encode() + b"\xe9 caf\n"
    with pytest.raises(ValueError, match=r"is UTF-8 except for 1 broken bytes, .* is byte 0xe9"):
        decode(broken, "a.csv")
    with pytest.raises(ValueError, match="is UTF-8 except for 1 broken bytes"):
        decode(CHINESE.encode()[:-6], "a.csv")  # cut within a character


def test_another_encoding_than_the_right_one_is_refused_where_it_cannot_decode() -> None:
    with pytest.raises(ValueError, match=r"a.csv is not cp932: byte 0x.. at offset \d+, line 2"):
        decode(CHINESE.encode("gbk"), "a.csv", "cp932")


@pytest.mark.parametrize("name", ["gb18030", "GBK", "shift_jis", "utf-16", "latin-1"])
def test_pythons_names_of_encodings_are_known(name: str) -> None:
    check_encoding(name)


@pytest.mark.parametrize("name", ["gb18031", "rot13", "base64", ""])
def test_what_is_no_encoding_of_text_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"data: encoding is {name!r}, which Python does not know"):
        check_encoding(name)


def test_bytes_that_are_no_text_are_refused() -> None:
    for data in (b"PK\x03\x04\x00\xff", b"text,label\nx\0y,a\n" * 3, bytes(range(256)) * 4):
        with pytest.raises(ValueError, match=r"a\.csv is not text: byte 0x00 at offset"):
            decode(data, "a.csv")
