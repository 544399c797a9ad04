"""Dividing free-text reports into sections."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiology.sections import SECTION_NAMES, Sections, read_sections, section_spans


def filled(text: str) -> dict[str, str]:
    """The sections that a report has."""
    return {name: section for name, section in asdict(read_sections(text)).items() if section is not None}


def letters(text: str) -> Counter[str]:
    return Counter("".join(text.split()))


# -- laws over assembled reports ---------------------------------------------------------------------------------------

NAMES = {
    "examination": ["examination", "exam", "type of examination"],
    "indication": ["indication", "reason for exam", "clinical indication", "reason for examination"],
    "history": ["history", "clinical history", "clinical information"],
    "technique": ["technique"],
    "comparison": ["comparison", "comparisons"],
    "findings": ["findings", "findings and impression"],
    "impression": ["impression", "conclusion"],
    "recommendation": ["recommendation", "recommendations"],
    "notification": ["notification"],
}
ALONE = {"findings", "impression", "indication", "technique", "comparison", "history", "conclusion", "examination"}
FRAGMENTS = (
    *("\n", "\n \n", " ", "\r\n", "_" * 30, "___", "- ", "1. ", "(Over)", "FINAL REPORT", "WET READ", "ADDENDUM"),
    *("FINDINGS:", "Impression", "history:", "CHEST, PA:", "IMPRESSON:", "Dictated by x", "The lungs are clear."),
)
FRONT = ("examination", "indication", "history", "technique", "comparison")
PIECES = (
    "The lungs are clear.",
    "No comparison is available at ___.",
    "Findings were discussed with Dr. ___ by telephone.",
    "There is an impression on the trachea.",
    "XXXX year old with XXXX, see the history above.",
    "The indication: cough, was not given.",
    "1. Heart size 5.5 cm; 2. no effusion (PA and lateral).",
    "LUNGS: no focal opacity.",
    "Stable at ___:___ p.m. - unchanged",
)


@st.composite
def paragraphs(draw: st.DrawFn, most: int) -> str:
    """Sentences in hard-wrapped lines, with a mark that tells the piece from all others."""
    several = []
    for _ in range(draw(st.integers(1, most))):
        sentences = draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4))
        mark = f"Mark{draw(st.integers(10_000, 99_999))}x."
        words = " ".join([*sentences, mark]).split(" ")
        breaks = draw(st.lists(st.sampled_from([" ", " ", "  ", "\n ", "\r\n "]), min_size=len(words) - 1))
        several.append(words[0] + "".join(gap + word for gap, word in zip(breaks, words[1:], strict=False)))
        if len(breaks) < len(words) - 1:
            several[-1] += " " + " ".join(words[len(breaks) + 1 :])
    return draw(st.sampled_from(["\n\n", "\n \n ", "\r\n\r\n"])).join(several)


@st.composite
def sections(draw: st.DrawFn) -> tuple[str, str, str]:
    """Section, header and body as they are written."""
    section = draw(st.sampled_from(sorted(NAMES)))
    name = draw(st.sampled_from(NAMES[section]))
    name = draw(st.sampled_from([name.upper(), name.capitalize(), name.title()]))
    ends = [":  ", ": \n \n ", ":\n ", " :\t"] + (["\n", " \n \n "] if name.lower() in ALONE else [])
    return section, name + draw(st.sampled_from(ends)), draw(paragraphs(1 if section in FRONT else 3))


@settings(max_examples=200, deadline=None)
@given(st.lists(sections(), min_size=1, max_size=7), st.sampled_from(["", "FINAL REPORT\n ", "  FINAL REPORT\n\n"]))
def test_every_character_is_in_one_section_and_in_the_right_one(parts: list[tuple[str, str, str]], banner: str) -> None:
    text = banner + "\n \n ".join(header + body for _, header, body in parts)
    found = filled(text)
    assert sum((letters(section) for section in found.values()), Counter()) == sum(
        (letters(body) for _, _, body in parts), Counter()
    )
    if any(section == "findings" for section, _, _ in parts):
        for name in NAMES:
            bodies = [" ".join(body.split()) for section, _, body in parts if section == name]
            assert " ".join(found.get(name, "").split()) == " ".join(bodies)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=8)), max_size=25).map("".join))
def test_pieces_cover_any_text_and_lose_nothing(text: str) -> None:
    spans = section_spans(text)
    assert "".join(text[span.start : span.end] for span in spans) == text
    assert [span.start for span in spans] == [0, *(span.end for span in spans)][: len(spans)]
    kept = "".join(text[span.start : span.end] for span in spans if span.section is not None)
    found = filled(text)
    assert sum((letters(section) for section in found.values()), Counter()) == letters(kept)
    assert all(section.strip() for section in found.values())
    assert {span.section for span in spans} <= {*SECTION_NAMES, None}


# -- headers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "section"),
    [
        ("INDICATION", "indication"),
        ("REASON FOR THIS EXAMINATION", "indication"),
        ("Reason for exam", "indication"),
        ("Clinical History", "history"),
        ("CLINICAL INFORMATION", "history"),
        ("COMPARISONS", "comparison"),
        ("COMPARSION", "comparison"),
        ("TYPE OF EXAMINATION", "examination"),
        ("PROCEDURE", "examination"),
        ("FINDINGS/IMPRESSION", "findings"),
        ("FINDINGS AND IMPRESSION", "findings"),
        ("FINDINS", "findings"),
        ("**Findings**", "findings"),
        ("## FINDINGS", "findings"),
        ("CONCLUSION", "impression"),
        ("IMPRESSON", "impression"),
        ("RECOMMENDATION(S)", "recommendation"),
        ("NOTIFICATION", "notification"),
        ("WET READ", "wet_read"),
        ("PROVISIONAL FINDINGS IMPRESSION (PFI)", "wet_read"),
        ("ADDENDUM", "addendum"),
    ],
)
def test_many_names_of_sections(header: str, section: str) -> None:
    found = filled(f"TECHNIQUE: PA.\n\n{header}: Something else.")
    assert found == {"technique": "PA.", section: "Something else."}


@pytest.mark.parametrize(
    "sentence",
    [
        "There are no acute\n findings.\n",
        "The impression of the tube is that of the\n impression: earlier.",
        "Compared with the history of this, the findings are as before.",
        "Please see the IMPRESSION: of the other report.",
        "In comparison to ___, clear.",
        "Technique is limited. Findings are below.",
        "Nodules, as described under Findings: none new.",
        "LUNGS: Clear.\n HEART: Normal.\n BONES AND SOFT TISSUES: Intact.",
        "Chest wall: a tube.\n PORTABLE CHEST: as above.",
    ],
)
def test_words_of_sentences_are_no_headers(sentence: str) -> None:
    assert filled(f"FINDINGS: {sentence}\n\nIMPRESSION: Done.") == {
        "findings": " ".join(sentence.split()),
        "impression": "Done.",
    }


def test_labels_that_say_more_than_the_section_stay_in_its_text() -> None:
    found = filled("COMPARISON (at ___): None.\nFINDINGS:\nCHEST FINDINGS: clear.\nDATE: ___\nIMPRESSION: ok.")
    assert found == {
        "comparison": "COMPARISON (at ___): None.",
        "findings": "CHEST FINDINGS: clear.",
        "other": "DATE: ___",
        "impression": "ok.",
    }


def test_headers_on_one_line_of_text() -> None:
    assert filled("FINAL REPORT EXAMINATION: CHEST INDICATION: ___F with cough COMPARISON: None. FINDINGS: Clear.") == {
        "examination": "CHEST",
        "indication": "___F with cough",
        "comparison": "None.",
        "findings": "Clear.",
    }
    assert filled("Indication: Positive XXXX test Findings: The heart is small. Impression: Normal.") == {
        "indication": "Positive XXXX test",
        "findings": "The heart is small.",
        "impression": "Normal.",
    }
    assert filled("INDICATION: History: ___M with past medical History: none") == {
        "indication": "History: ___M with past medical History: none"
    }


def test_reports_in_one_case() -> None:
    assert filled("indication: cough\nfindings: no acute\nfindings seen\nimpression: normal") == {
        "indication": "cough",
        "findings": "no acute findings seen",
        "impression": "normal",
    }
    assert filled("FINDINGS: THERE ARE NO ACUTE\nFINDINGS\nSEEN. IMPRESSION: NORMAL.") == {
        "findings": "THERE ARE NO ACUTE FINDINGS SEEN.",
        "impression": "NORMAL.",
    }


def test_headers_without_colon() -> None:
    assert filled("Indication\nCough\nFindings\nClear\nIMPRESSION\n1. Normal\nRECOMMENDATION - none") == {
        "indication": "Cough",
        "findings": "Clear",
        "impression": "1. Normal",
        "recommendation": "none",
    }
    assert filled("FINAL REPORT\n COMPARISON\n ___.\n\n FINDINGS\n Clear.") == {
        "comparison": "___.",
        "findings": "Clear.",
    }


# -- whole reports -----------------------------------------------------------------------------------------------------


def test_a_report_as_mimic_cxr_has_it() -> None:
    report = read_sections(
        "                                 FINAL REPORT\n"
        " EXAMINATION:  CHEST (PA AND LAT)\n \n INDICATION:  ___F with new\n fever  // eval for infection\n \n"
        " TECHNIQUE:  Chest PA and lateral\n \n COMPARISON:  None.\n \n FINDINGS: \n \n There is no focal\n"
        " consolidation or effusion.\n \n Bones are intact.\n \n"
        " IMPRESSION: \n \n 1.  No acute process.\n 2.  ___ catheter.\n"
    )
    assert report == Sections(
        examination="CHEST (PA AND LAT)",
        indication="___F with new fever // eval for infection",
        technique="Chest PA and lateral",
        comparison="None.",
        findings="There is no focal consolidation or effusion.\n\nBones are intact.",
        impression="1. No acute process. 2. ___ catheter.",
    )
    assert report.report() == report.findings
    assert report.report("both") == f"{report.findings}\n\n{report.impression}"


def test_a_report_without_findings() -> None:
    report = read_sections("HISTORY: Cough.\n\nIMPRESSION: No pneumonia.")
    assert (report.findings, report.report()) == (None, None)
    assert report.report("impression") == report.report("both") == "No pneumonia."
    assert read_sections("FINDINGS:\n\nIMPRESSION: Normal.").findings is None
    assert filled("") == filled(" \n\n ") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FINAL REPORT\n The lungs are clear.\n\n No edema.", {"findings": "The lungs are clear.\n\nNo edema."}),
        ("Normal.", {"findings": "Normal."}),
        (
            "FINAL REPORT\n CHEST RADIOGRAPH\n\n The lungs are clear.\n\n IMPRESSION: Normal.",
            {"preamble": "CHEST RADIOGRAPH", "findings": "The lungs are clear.", "impression": "Normal."},
        ),
        (
            "REASON FOR EXAM: Cough.\n \n COMPARISON: ___.\n \n The heart is large.\n \n Edema is new.",
            {"indication": "Cough.", "comparison": "___.", "findings": "The heart is large.\n\nEdema is new."},
        ),
        (
            "INDICATION: Cough.\n\n Please evaluate the chest, no fever.\n\n IMPRESSION: Normal.",
            {"indication": "Cough.\n\nPlease evaluate the chest, no fever.", "impression": "Normal."},
        ),
        (
            "COMPARISON: None.\n\n The heart is large.\n\n FINDINGS: Clear.",
            {"comparison": "None.\n\nThe heart is large.", "findings": "Clear."},
        ),
    ],
)
def test_findings_without_a_header(text: str, expected: dict[str, str]) -> None:
    assert filled(text) == expected


def test_the_name_of_the_views_opens_findings() -> None:
    text = "CHEST, PA AND LATERAL:\n\nHISTORY: Cough.\n\nPORTABLE AP VIEW, 5:30 A.M.: Clear.\n\nIMPRESSION: Normal."
    assert filled(text) == {
        "examination": "CHEST, PA AND LATERAL:\n\nPORTABLE AP VIEW, 5:30 A.M.:",
        "history": "Cough.",
        "findings": "Clear.",
        "impression": "Normal.",
    }


def test_sections_that_come_several_times_are_joined_in_order() -> None:
    text = "FINDINGS: One.\nIMPRESSION: First.\n\nEXAM: Second film.\nFINDINGS: Two.\nCONCLUSION: Second."
    assert filled(text) == {
        "findings": "One.\n\nTwo.",
        "impression": "First.\n\nSecond.",
        "examination": "Second film.",
    }


def test_a_wet_read_is_not_mixed_with_the_report() -> None:
    rule = "_" * 70
    text = f"WET READ: ___ ___ 8:19 AM\n Clear.\n IMPRESSION: wet.\n{rule}\n  FINAL REPORT\n FINDINGS: Edema."
    assert filled(text) == {"wet_read": "___ ___ 8:19 AM Clear. IMPRESSION: wet.", "findings": "Edema."}
    assert filled("WET READ VERSION #1 ___ 8:19 AM\n Clear.\n\nFINDINGS: Edema.") == {
        "wet_read": "___ 8:19 AM Clear.",
        "findings": "Edema.",
    }


def test_an_addendum_does_not_replace_what_was_written_first() -> None:
    assert filled("FINDINGS: Clear.\nIMPRESSION: Normal.\n\nADDENDUM\n FINDINGS: A nodule.\n IMPRESSION: Nodule.") == {
        "findings": "Clear.",
        "impression": "Normal.",
        "addendum": "FINDINGS: A nodule. IMPRESSION: Nodule.",
    }
    assert filled("ADDENDUM  A nodule.\n IMPRESSION: Nodule.\n      FINAL REPORT\n FINDINGS: Clear.") == {
        "addendum": "A nodule. IMPRESSION: Nodule.",
        "findings": "Clear.",
    }
    assert filled("ADDENDUM: Typing error.\n\nFINDINGS: Clear.") == {"addendum": "Typing error.", "findings": "Clear."}


@pytest.mark.parametrize(
    "signature", ["Dictated by: Dr. ___", "Electronically signed by ___\n on ___", "DR. ___", "___ ___, M.D."]
)
def test_signatures_are_no_part_of_the_impression(signature: str) -> None:
    found = filled(f"FINDINGS: Clear.\n\nIMPRESSION: Normal.\n\n {signature}\n")
    assert found == {"findings": "Clear.", "impression": "Normal.", "signature": " ".join(signature.split())}


def test_a_name_in_a_sentence_is_no_signature() -> None:
    found = filled("FINDINGS: Clear.\n\nIMPRESSION: Normal, as discussed with\n DR. ___")
    assert found == {"findings": "Clear.", "impression": "Normal, as discussed with DR. ___"}


def test_the_turn_of_a_page_joins_the_sentence() -> None:
    text = "FINDINGS: The heart is\n          (Over)\n\n        FINAL REPORT\n (Cont)\n large."
    assert filled(text) == {"findings": "The heart is large."}
