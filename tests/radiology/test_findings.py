"""Reading findings from report text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from radiology.findings import Finding, read_report, sides_of, statuses
from radiology.phantom.factors import sample_factors, sample_prior
from radiology.phantom.grammar import parse_report, report_text, write_report
from radiology.vocabulary import CONCEPTS
from tests.radiology.graded import graded_sentences


def phantom_reports(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    reports = []
    for number in range(n):
        factors = sample_factors(rng)
        prior = sample_prior(rng, factors) if number % 2 else None
        reports.append(report_text(write_report(rng, factors, prior)))
    return reports


def test_phantom_reports_are_read_as_their_exact_parser_reads_them() -> None:
    for report in phantom_reports(1000, seed=0):
        parsed = parse_report(report)
        expected = {**parsed.label_statuses(), **parsed.concept_statuses()}
        del expected["nasogastric_tube:misplaced"]
        findings = read_report(report)
        read = statuses(findings)
        assert {key: read.get(key, "absent") for key in expected} == expected
        for key, detail in parsed.details.items():
            concept, _, side = key.partition(":")
            (finding,) = [f for f in findings if f.concept == concept and (not side or f.side == side)]
            assert detail in (finding.severity, finding.location, finding.placement)
        for key, change in parsed.change.items():
            concept, _, side = key.partition(":")
            (finding,) = [f for f in findings if f.concept == concept and (not side or f.side == side)]
            assert finding.change == change


# text | what is said: concept[:side] status, with any of change, placement, severity, location
# A line that begins with "    |" goes on with the one before.
ENGLISH = """
No pleural effusion or pneumothorax. | pleural_effusion absent; pneumothorax absent
No focal consolidation, pleural effusion, or pneumothorax is seen.
    | consolidation absent; pleural_effusion absent; pneumothorax absent
No pneumothorax, large effusion, or consolidation.
    | pneumothorax absent; pleural_effusion absent; consolidation absent
Neither pleural effusion nor pneumothorax is identified. | pleural_effusion absent; pneumothorax absent
Pleural effusion is not seen. | pleural_effusion absent
Pneumothorax is unlikely. | pneumothorax absent
No new consolidation. | consolidation absent
There is no evidence of pneumonia, however there is a small right effusion.
    | pneumonia absent; pleural_effusion:right present small
No pneumothorax, small left pleural effusion. | pneumothorax absent; pleural_effusion:left present small
There is no pneumothorax and the heart is mildly enlarged. | pneumothorax absent; cardiomegaly present mild
Mild cardiomegaly is unchanged, no pleural effusion. | cardiomegaly present unchanged; pleural_effusion absent
No opacity to suggest pneumonia. | lung_opacity absent; pneumonia absent
no effusion. heart is normal. | pleural_effusion absent; cardiomegaly absent
There is no change in the left pleural effusion. | pleural_effusion:left present unchanged
No significant interval change in bilateral pleural effusions.
    | pleural_effusion:left present unchanged; pleural_effusion:right present unchanged
There is a left effusion, but it is unchanged. | pleural_effusion:left present unchanged
Left effusion has increased and right nodule is unchanged.
    | pleural_effusion:left present worse; lung_nodule:right present unchanged
Small right and moderate left pleural effusions have increased.
    | pleural_effusion:right present worse; pleural_effusion:left present worse
Compared to the prior study, the right effusion is smaller. | pleural_effusion:right present improved
Worsening pulmonary edema with new small bilateral effusions.
    | pulmonary_edema present worse; pleural_effusion:left present new; pleural_effusion:right present new
The right pneumothorax has resolved. | pneumothorax:right absent resolved
Interval resolution of left pneumothorax. | pneumothorax:left absent resolved
The right pneumothorax has nearly resolved. | pneumothorax:right present improved
Right PICC has been removed. | central_line:right absent resolved
Interval removal of the endotracheal tube. | endotracheal_tube absent resolved
Interval extubation. | endotracheal_tube absent resolved
Pneumonia cannot be excluded. | pneumonia uncertain
Possible small right apical pneumothorax. | pneumothorax:right uncertain small apical
Left basilar opacity may represent atelectasis or pneumonia.
    | lung_opacity:left present basal; atelectasis uncertain; pneumonia uncertain
Atelectasis versus pneumonia at the right base. | atelectasis uncertain; pneumonia:right uncertain
Opacity in the right lower lobe, likely pneumonia. | lung_opacity:right present lower; pneumonia uncertain
There is likely a small left pleural effusion without pneumothorax.
    | pleural_effusion:left uncertain; pneumothorax absent
Heart size is normal. | cardiomegaly absent
The heart is no longer enlarged. | cardiomegaly absent resolved
The heart is at the upper limits of normal in size. | cardiomegaly absent
The heart may be enlarged. | cardiomegaly uncertain
Cardiac size cannot be evaluated. |
The cardiomediastinal silhouette is within normal limits. | cardiomegaly absent; enlarged_cardiomediastinum absent
The lungs are clear. | consolidation absent; pulmonary_edema absent; lung_nodule absent; lung_opacity absent
The left lung is clear.
    | consolidation:left absent; pulmonary_edema absent; lung_nodule:left absent; lung_opacity:left absent
Aside from a right nodule the lungs are clear. | lung_nodule:right present
The costophrenic angles are sharp. | pleural_effusion absent
Bibasilar atelectasis, left greater than right. | atelectasis:left present basal; atelectasis:right present
Endotracheal tube terminates 4 cm above the carina. | endotracheal_tube present placed
The NG tube is coiled in the esophagus and should be repositioned. | nasogastric_tube present misplaced
Left chest wall pacemaker with leads in standard position. | pacemaker:left present placed
Subcutaneous emphysema is seen. | subcutaneous_emphysema present
Evaluate for pneumothorax. |
No acute cardiopulmonary process. | no_finding present
"""


@pytest.mark.parametrize("line", ENGLISH.replace("\n    |", " |").strip().splitlines())
def test_general_english(line: str) -> None:
    text, _, said = line.partition("|")
    findings = read_report(text)
    read = statuses(findings)
    expected = [entry.split() for entry in said.split(";") if entry.strip()]
    for key, status, *attributes in expected:
        concept, _, side = key.partition(":")
        assert read.get(key) == status
        about = [f for f in findings if f.concept == concept and (not side or side in sides_of(f))]
        for attribute in attributes:
            assert any(attribute in (f.change, f.placement, f.severity, f.location) for f in about)
    assert {finding.concept for finding in findings} == {key.split(":")[0] for key, *_ in expected}


def test_findings_know_their_sentence_and_place() -> None:
    text = "Heart size is normal.  There is a SMALL left\npleural effusion. No pneumothorax."
    _, effusion, pneumothorax = read_report(text)
    assert text[slice(*effusion.span)] == "pleural effusion"
    assert effusion.sentence == "There is a SMALL left\npleural effusion."
    assert (effusion.side, effusion.severity) == ("left", "small")
    assert text[slice(*pneumothorax.span)] == "pneumothorax"


def test_positions_hold_where_lower_case_is_longer() -> None:
    text = "İ. No pneumothorax."
    (finding,) = read_report(text)
    assert text[slice(*finding.span)] == "pneumothorax"


def test_present_wins_over_uncertain_over_absent() -> None:
    assert statuses(read_report("No nodule. Possible left nodule."))["lung_nodule"] == "uncertain"
    assert statuses(read_report("Possible left nodule. Right nodule. No nodule."))["lung_nodule"] == "present"
    assert read_report("") == []


@pytest.mark.parametrize("key", [key for key, concept in CONCEPTS.items() if concept.kind != "overall"])
def test_whatever_can_be_named_can_be_denied_and_doubted(key: str) -> None:
    for phrase in (CONCEPTS[key].name, *CONCEPTS[key].synonyms):
        named = {
            "present": f"There is {phrase}.",
            "absent": f"There is no {phrase}.",
            "uncertain": f"Possible {phrase}.",
        }
        for status, text in named.items():
            findings = read_report(text)
            assert key in {finding.concept for finding in findings}, text
            assert {finding.status for finding in findings} == {status}, text


def test_the_order_of_sentences_does_not_matter() -> None:
    def content(text: str) -> list[str]:
        return sorted(str(replace(finding, span=(0, 0))) for finding in read_report(text))

    rng = np.random.default_rng(2)
    for report in _mixed_reports(rng, 200):
        shuffled = list(report)
        rng.shuffle(shuffled)
        assert content(" ".join(shuffled)) == content(" ".join(report))


def test_a_report_says_what_its_sentences_say() -> None:
    def unplaced(findings: list[Finding]) -> list[Finding]:
        return [replace(finding, span=(0, 0)) for finding in findings]

    for report in _mixed_reports(np.random.default_rng(3), 200):
        text = " ".join(report)
        assert unplaced(read_report(text)) == unplaced([found for part in report for found in read_report(part)])
        for finding in read_report(text):
            assert text[slice(*finding.span)] in finding.sentence


def _mixed_reports(rng: np.random.Generator, n: int) -> list[list[str]]:
    """Reports of eight graded sentences each, without headings and numbered lists, which reach beyond a sentence."""
    texts = [sentence.text for held_out in (False, True) for sentence in graded_sentences(held_out)]
    texts = [text for text in texts if text.count(".") == 1 and text.endswith(".") and not set(text) & set(":()?")]
    return [[texts[place] for place in rng.choice(len(texts), 8, replace=False)] for _ in range(n)]
