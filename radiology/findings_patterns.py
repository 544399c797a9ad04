"""Findings whose words stand apart: "blunting of the left costophrenic angle", "the lungs are hyperexpanded".

A pattern names one concept or, as "hydropneumothorax" does, two. A word that was removed to protect the patient (``XXXX``, ``___``) is allowed where
reports of the kind that is common in public collections have one ("cardiac XXXX generator").
"""

from __future__ import annotations

import re
from functools import cache

from radiology.vocabulary import CONCEPTS, NOT_CONCEPTS, Concept, concept_of_phrase, phrase_body, trie_body

#: A word that was removed.
MASK = r"(?:x{3,}|_{2,}|\[\*\*[^\]]*\*\*\])"
#: Words that no gap may bridge: they begin another statement or deny what follows.
_BOUND = r"(?!(?:no|not|without|and|or|but|with|is|are|was|were|sharp|clear|normal|effusions?|fluid|versus)\b)"
_STATEMENT_BOUND = r"(?!(?:no|not|without|and|or|but|with|sharp|clear|normal)\b)"


def _gap(most: int) -> str:
    """Up to ``most`` words between two parts of a name."""
    return rf"(?:{_BOUND}[\w/.-]+\s+){{0,{most}}}?"


def _verb_gap(most: int) -> str:
    """As :func:`_gap`, for "the angle *is mildly* blunted"."""
    return rf"(?:{_STATEMENT_BOUND}[\w/.-]+\s+){{0,{most}}}?"


_DIAPHRAGM = r"(?:hemi[\s-]?)?diaphragms?"
_ANGLE = rf"(?:costo[\s-]?phrenic|cp)(?:\s+(?:{MASK}|angles?|sulc(?:us|i)|recess(?:es)?|margins?))?"
_MASKED_VESSELS = rf"pulmonary\s+{MASK}"
_VESSELS = r"(?:vascul(?:arity|ature)|vascular\s+(?:markings?|structures|pedicle)|vessels)"
_MORE = r"(?:prominen(?:t|ce)|engorge(?:d|ment)|congest(?:ed|ion)|cephali[sz](?:ed|ation)|redistribut(?:ed|ion))"
_LARGE = r"(?:prominen(?:t|ce)|full(?:ness)?|enlarge(?:d|ment))"
_WIRES = r"(?:wires?|leads?|screws?|catheters?|hardware|rods?|sternotomy)"
_PLEURAL = r"(?:thickening|scar(?:ring)?|plaques?|calcifications?|plaquing)"
_ABNORMAL = r"(?:abnormalit\w+|process(?:es)?|diseases?|findings?|changes?|patholog\w+|infiltrates?)"
_WHERE = (
    r"(?:radiographic|cardio[\s-]?pulmonary|cardiac|cardiovascular|pulmonary|pleural|intra[\s-]?thoracic|chest|thoracic|"
    r"cardiothoracic|lung|parenchymal)"
)

#: Concepts ("" for what is none), and the pattern; those that come first win.
_PATTERNS: tuple[tuple[str, str], ...] = (
    (
        "no_finding",
        rf"no\s+(?:(?:evidence|radiographic|definite|findings?|signs?|of|for|an?|convincing|visible|significant|other)\s+)*"
        rf"(?:acute|active|significant)(?:(?:\s*[,/]\s*|\s+)(?:or\s+|and\s+)?(?:active|acute|{_WHERE}))*\s+{_ABNORMAL}"
        rf"|(?:normal|unremarkable|negative)\s+(?:\w+\s+)?chest(?:\s+(?:radiographs?|x[\s-]?rays?|x-{MASK}|exam\w*|films?))?",
    ),
    ("", rf"fractur(?:ed?|es)\s+{_gap(5)}{_WIRES}|{_WIRES}\s+(?:\w+\s+){{0,6}}?(?:is\s+|are\s+)?fractur(?:ed?|es)"),
    ("", r"(?:ct|mri|tomography)\s+(?:\w+\s+){0,4}?sensitive\b[^.]*"),
    ("costophrenic_blunting", rf"blunt(?:ed|ing)\s+(?:of\s+)?{_gap(6)}{_ANGLE}|{_ANGLE}\s+{_verb_gap(5)}blunt(?:ed|ing)"),
    ("elevated_hemidiaphragm", rf"elevat(?:ed|ion)\s+{_gap(5)}{_DIAPHRAGM}|{_DIAPHRAGM}\s+{_verb_gap(5)}elevat(?:ed|ion)"),
    (
        "flattened_diaphragm",
        rf"flat(?:ten(?:ed|ing))?\s+{_gap(5)}{_DIAPHRAGM}|{_DIAPHRAGM}\s+{_verb_gap(5)}flat(?:ten(?:ed|ing))?",
    ),
    (
        "low_lung_volumes",
        r"(?:lung|inspiratory)\s+volumes?\s+" + _verb_gap(4) + r"(?:low|small|diminished|reduced|decreased)"
        r"|(?:low|small|decreased|reduced|diminished|shallow|poor|suboptimal|decreasing)\s+" + _gap(2) + r"(?:lung|inspiratory)\s+"
        r"(?:volumes?|efforts?)|hypo-?\s?(?:inflated|inflation|expanded|aerated|ventilat\w+)",
    ),
    ("hyperinflation", r"hyper[\s-]?(?:inflat|expan|aerat|disten|lucen)\w*|over[\s-]?(?:inflat|expand|aerat)\w*"),
    ("aortic_calcification", rf"calcifi(?:ed|cations?)(?=\s+{_gap(6)}aort)|calcifi(?:ed|cations?)(?=\s+(?:\w+\s+)?arch\b)"
     rf"|aort(?:a|ic)\s+{_verb_gap(4)}(?:calcifi(?:ed|cations?)|atherosclero\w+)|atherosclero\w+|arteriosclero\w+"),
    ("aortic_tortuosity", r"tortu(?:ous|osity)|ectatic|ectasia|unfold(?:ed|ing)|uncoil(?:ed|ing)|aneurysm\w*"
     rf"|aort(?:a|ic)\s+{_verb_gap(3)}(?:dilated|enlarged|prominent|elongated)"),
    ("pneumothorax pleural_effusion", r"(?:hydro|ha?emo)[\s-]?pneumo[\s-]?thora(?:x|ces)"),
    ("lung_nodule lung_opacity", r"nodular(?:[\s-]like)?\s+(?:airspace\s+|lung\s+)?(?:opacit(?:y|ies)|densit(?:y|ies))"),
    ("granuloma lung_opacity", r"calcifi(?:ed|c)\s+(?:densit(?:y|ies)|opacit(?:y|ies))"),
    ("lung_nodule", r"non[\s-]?calcified\s+(?:\w+\s+){0,3}?nodules?"),
    ("granuloma", r"calcifi(?:ed|c)\s+" + _gap(3) + r"(?:granulomas?|granulomata)|granulomatous(?:\s+(?:diseases?|changes?|process|infection|exposure|residua\w*|sequela\w*|calcifications?|nodules?))?"),
    (
        "calcified_lymph_nodes",
        rf"calcifi(?:ed|cations?)\s+{_gap(5)}(?:lymph\s+{MASK}|(?:lymph\s+)?nodes?|hil(?:um|a)\b|hilar\b)"
        rf"|(?:nodal|hilar)\s+(?:\w+\s+)?calcifications?",
    ),
    ("atelectasis", r"collapsed?\s+(?:of\s+)?" + _gap(4) + r"(?:lungs?|lobes?|lingula)|(?:lung|lobe|lobar)\s+(?:is\s+|has\s+)?(?:\w+\s+)?"
     r"collapsed?|atelecta\w+"),
    (
        "pleural_other",
        rf"pleural?[\s/-]+{_gap(3)}{_PLEURAL}|(?<=\beffusion\sversus\s)thickening|(?<=\beffusion\sor\s)thickening"
        rf"|thickening\s+(?:of|in|along|within)\s+{_gap(4)}(?:fissures?|pleura)|(?:bi)?apical\s+{_gap(2)}(?:capp?ing|caps?|thickening)"
        rf"|fissural\s+{_gap(1)}thickening|{_PLEURAL}\s+of\s+(?:\w+\s+){{0,3}}?pleura",
    ),
    (
        "vascular_congestion",
        rf"{_MASKED_VESSELS}\s+{_verb_gap(3)}(?:engorged|congested)|engorged\s+{_MASKED_VESSELS}"
        rf"|{_VESSELS}\s+{_verb_gap(4)}(?:engorged|congested|prominent|increased|indistinct|cephali[sz]ed)"
        rf"|(?:{_MORE}|indistinct(?:ness)?|increased)\s+(?:of\s+)?{_gap(4)}{_VESSELS}",
    ),
    (
        "interstitial_markings",
        r"(?:interstitial|reticular|bronchial|reticulonodular)\s+(?:\w+\s+)?markings?"
        r"|(?:prominen(?:t|ce)|increased?|coarse(?:ned)?|accentuated)\s+" + _gap(4) + r"(?:lung|pulmonary)\s+(?:\w+\s+)?markings?",
    ),
    ("pneumoperitoneum", r"free\s+(?:\w+[\s-]+){0,2}?air"),
    ("hilar_enlargement", rf"{_LARGE}\s+{_gap(4)}hil(?:um|a|ar)\b(?:\s+(?:contours?|regions?|shadows?|{MASK}|structures))?"
     rf"|hil(?:um|a|ar\s+\w+)\s+{_verb_gap(2)}(?:prominent|enlarged|full)"),
    ("lymphadenopathy", rf"enlarged\s+{_gap(4)}(?:lymph\s+)?(?:nodes?|lymph\s+{MASK})"),
    (
        "cardiomegaly",
        rf"(?:enlarge(?:d|ment)|increased?)\s+(?:in\s+)?(?:(?:size|of)\s+)*{_gap(2)}"
        rf"(?:heart(?:\s+size)?|cardiac\s+(?:silhouette|size|shadow|contours?|{MASK}))",
    ),
    ("enlarged_cardiomediastinum", rf"(?:{_LARGE}|widening|widened)\s+(?:of\s+)?{_gap(4)}mediastin(?:um|al\b)(?:\s+(?:silhouette|contours?))?"),
    ("fracture", r"fractur(?:ed?|es)"),
    ("bone_deformity", r"(?:compression|wedge|wedging|height\s+loss)\b(?:\s+(?:deformit\w+|fracture))?(?=[^.]*\b(?:vertebra|body|bodies|spine|thoracic|t\d))"),
    ("spine_degeneration", r"degenerative(?:\s+\w+){0,2}?\s+changes?|degenerative|spondylo\w+|osteophyt\w*"),
    ("scoliosis", r"(?:scolio|dextro|levo)\w+|curvature"),
    (
        "pacemaker",
        rf"(?:cardiac|dual|single|biventricular)[\s-]+{MASK}\s+(?:\w+\s+){{0,2}}?(?:generator|device|leads?|pacer|pacemaker)"
        rf"|cardiac\s+{MASK}(?=[^.]{{0,60}}\bleads?\b)|(?:dual|single)[\s-]+{MASK}\s+cardiac\s+{MASK}|pulse\s+generator|generator",
    ),
    ("central_line", rf"{MASK}-a-{MASK}|(?:chest|subclavian|ij|jugular|central|port[\s-]a)[\s-]+{MASK}(?=[^.]{{0,80}}\b(?:tip|svc|cavo\w*|catheter|vena)\b)"
     r"|(?:ij|jugular|subclavian|femoral|central)\s+" + _gap(5) + r"(?:catheter|line|sheath|port)\b|port(?=\s+(?:tip|catheter|with|in\s+place))"
     r"|(?:chest|sided|subclavian|jugular|ij|wall)\s+port\b"),
    ("support_devices", rf"overlying\s+(?:\w+\s+){{0,2}}?leads?|electronic\s+device|ivc\s+(?:filter|{MASK})|(?:ivc|caval)\s+filter"),
    ("valve_prosthesis", r"(?:prosthetic|mechanical|artificial|replaced|bioprosthetic)\s+(?:\w+\s+){0,2}?valves?|valves?\s+(?:\w+\s+)?(?:prosthes[ie]s|replacements?)"),
)  # fmt: skip

_GROUPS: tuple[str, ...] = tuple(f"p{number}" for number in range(len(_PATTERNS)))
_CONCEPTS_OF_GROUP: dict[str, tuple[Concept, ...]] = {
    group: tuple(CONCEPTS[key] for key in keys.split()) for group, (keys, _) in zip(_GROUPS, _PATTERNS, strict=True)
}


#: How the patterns begin; a word that begins otherwise is compared with the phrases only.
_STARTS = (
    "no ,no\t,no\n,normal,unremarkable,negative,fractur,wire,lead,screw,catheter,hardware,rod,sternotomy,ct ,mri ,tomograph,"
    "blunt,costo,cp ,elevat,hemi,diaphragm,flat,lung,inspirat,low,small,decreas,reduc,diminish,shallow,poor,subopt,hypo,hyper,"
    "over,calcif,aort,athero,arterio,tortu,ecta,unfold,uncoil,aneurysm,hydro,haemo,hemo,nodular,non,nodal,hil,collapse,lobe,"
    "lobar,atelect,pleura,pleural,thicken,bi,apical,fissural,scar,plaque,calcification,plaquing,pulmonary,engorge,vascul,"
    "vessels,prominen,congest,cephali,redistribut,indistinct,increas,interstitial,reticul,bronchial,coarse,accentuat,free,"
    "granulomat,full,enlarge,widen,compression,wedg,height,degenerat,spondylo,osteophyt,scolio,dextro,levo,curvature,cardiac,dual,single,"
    "biventric,pulse,generator,xxx,chest,subclav,ij,jugular,central,port,femoral,sided,wall,overlying,electronic,ivc,caval,"
    "prosthetic,mechanical,artificial,replaced,bioprosth,valve"
).split(",")


@cache
def finding_pattern() -> re.Pattern[str]:
    """Finds what is named in lower-case text, by pattern or phrase. What a match names: :func:`concepts_of_match`."""
    groups = "|".join(f"(?P<{group}>{body})" for group, (_, body) in zip(_GROUPS, _PATTERNS, strict=True))
    return re.compile(rf"\b(?:(?={trie_body(_STARTS)})(?:{groups})|(?P<phrase>{phrase_body()}))(?!\w)")


def concepts_of_match(match: re.Match[str]) -> tuple[Concept, ...]:
    """The concepts that a match of :func:`finding_pattern` names; none for a phrase that only looks like one."""
    if match.lastgroup != "phrase":
        return _CONCEPTS_OF_GROUP[match.lastgroup or ""]
    return _concepts_of_phrase(match.group())


@cache
def _concepts_of_phrase(text: str) -> tuple[Concept, ...]:
    phrase = " ".join(text.replace("-", " ").split())
    concept = None if phrase in NOT_CONCEPTS else concept_of_phrase(phrase)
    return () if concept is None else (concept,)
