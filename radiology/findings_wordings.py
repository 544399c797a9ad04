"""Findings whose words stand apart: "blunting of the left costophrenic angle", "the lungs are hyperexpanded".

Each row names one concept or, as "hydropneumothorax" does, two, and lists the ways to write it. A word that was
removed to protect the patient (``XXXX``, ``___``) is allowed where reports of the kind that is common in public
collections have one ("cardiac XXXX generator").
"""

from __future__ import annotations

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


_FEW = r"(?:\w+\s+){0,2}?"
_DIAPHRAGM = r"(?:hemi[\s-]?)?diaphragms?"
_ANGLE = rf"(?:costo[\s-]?phrenic|cp)(?:\s+(?:{MASK}|angles?|sulc(?:us|i)|recess(?:es)?|margins?))?"
_MASKED_VESSELS = rf"pulmonary\s+{MASK}"
_VESSELS = r"(?:vascul(?:arity|ature)|vascular\s+(?:markings?|structures|pedicle)|vessels)"
_MORE = r"(?:prominen(?:t|ce)|engorge(?:d|ment)|congest(?:ed|ion)|cephali[sz](?:ed|ation)|redistribut(?:ed|ion))"
_LARGE = r"(?:prominen(?:t|ce)|full(?:ness)?|enlarge(?:d|ment))"
_LOW = r"(?:low(?:er)?|small(?:er)?|diminished|reduced|decreased)"
_BROKEN = r"fractur(?:ed?|es)"
_STERNAL_WIRES = r"stern(?:al|otomy)\s+wires?"
_WIRES = r"(?:wires?|leads?|screws?|catheters?|hardware|rods?|sternotomy)"
_PLEURAL = r"(?:thickening|scar(?:ring)?|plaques?|calcifications?|plaquing)"
_CALCIFIED = r"calcifi(?:ed|cations?)"
_OPACITY = r"(?:opacit(?:y|ies)|densit(?:y|ies))"
_ABNORMAL = rf"(?:abnormalit\w+|process(?:es)?|diseases?|findings?|changes?|patholog\w+|{MASK})"
_NO = r"no\s+(?:(?:evidence|radiographic|definite|findings?|signs?|of|for|an?|convincing|visible|significant)\s+)*"
_ACUTE = r"(?!significant\s+(?:interval\s+)?changes?\b)(?:acute|active|significant)"
_OF_CHEST = (
    r"(?:(?:\s*[,/]\s*|\s+)(?:or\s+|and\s+)?(?:active|acute|radiographic|cardio[\s-]?pulmonary|cardiac|cardiovascular"
    r"|pulmonary|pleural|intra[\s-]?thoracic|chest|thoracic|cardiothoracic|lung|parenchymal))*"
)
_FILM = rf"(?:radiographs?|x[\s-]?rays?|x-{MASK}|exam\w*|films?)"
_NORMAL = r"(?:normal|unremarkable|negative(?!\s+for)|within\s+normal\s+limits)"

#: Concepts (none for what only looks like one), and the ways to write them; rows that come first win.
WORDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "no_finding",
        (
            rf"{_NO}{_ACUTE}{_OF_CHEST}\s+{_ABNORMAL}",
            rf"(?:normal|unremarkable|negative)\s+(?:\w+\s+)?chest(?:\s+{_FILM})?",
            rf"chest\s+(?:{_FILM}\s+)?(?:is\s+|are\s+)?{_NORMAL}(?!\s+(?:size|for|in|other|aside|except))",
        ),
    ),
    (
        "sternotomy_wires",
        (
            rf"{_BROKEN}\s+(?:\w+\s+)?{_STERNAL_WIRES}",
            rf"{_STERNAL_WIRES}\s+(?:\w+\s+){{0,4}}?{_BROKEN}",
        ),
    ),
    (
        "",
        (
            rf"{_BROKEN}\s+{_gap(5)}{_WIRES}",
            rf"{_WIRES}\s+(?:\w+\s+){{0,6}}?(?:is\s+|are\s+)?{_BROKEN}",
            r"(?:ct|mri|tomography)\s+(?:\w+\s+){0,4}?sensitive\b[^.]*",
        ),
    ),
    (
        "costophrenic_blunting",
        (
            rf"blunt(?:ed|ing)\s+(?:of\s+)?{_gap(6)}{_ANGLE}",
            rf"{_ANGLE}\s+{_verb_gap(5)}blunt(?:ed|ing)",
        ),
    ),
    (
        "elevated_hemidiaphragm",
        (
            rf"elevat(?:ed|ion)\s+{_gap(5)}{_DIAPHRAGM}",
            rf"{_DIAPHRAGM}\s+{_verb_gap(5)}elevat(?:ed|ion)",
        ),
    ),
    (
        "flattened_diaphragm",
        (
            rf"flat(?:ten(?:ed|ing))?\s+{_gap(5)}{_DIAPHRAGM}",
            rf"{_DIAPHRAGM}\s+{_verb_gap(5)}flat(?:ten(?:ed|ing))?",
        ),
    ),
    (
        "low_lung_volumes",
        (
            rf"(?:lung|inspiratory)\s+volumes?\s+{_verb_gap(4)}{_LOW}",
            r"(?:low|small|decreased|reduced|diminished|shallow|poor|suboptimal|decreasing)\s+"
            rf"{_gap(2)}(?:lung|inspiratory)\s+(?:volumes?|efforts?)",
            r"hypo-?\s?(?:inflated|inflation|expanded|aerated|ventilat\w+)",
        ),
    ),
    (
        "hyperinflation",
        (
            r"hyper[\s-]?(?:inflat|expan|aerat|disten|lucen)\w*",
            r"over[\s-]?(?:inflat|expand|aerat)\w*",
        ),
    ),
    (
        "aortic_calcification",
        (
            rf"{_CALCIFIED}(?=\s+{_gap(6)}aort)",
            rf"{_CALCIFIED}(?=\s+(?:\w+\s+)?arch\b)",
            rf"aort(?:a|ic)\s+{_verb_gap(4)}(?:with\s+(?:\w+\s+)?)?(?:{_CALCIFIED}|atherosclero\w+)",
            r"atherosclero\w+",
            r"arteriosclero\w+",
        ),
    ),
    (
        "aortic_tortuosity",
        (
            r"tortu(?:ous|osity)",
            r"ectatic|ectasia",
            r"unfold(?:ed|ing)|uncoil(?:ed|ing)",
            r"aneurysm\w*",
            rf"aort(?:a|ic)\s+{_verb_gap(3)}(?:dilated|enlarged|prominent|elongated)",
        ),
    ),
    (
        "pleural_effusion pericardial_effusion",
        (
            r"pericardial\s+(?:and|or)\s+pleural\s+effusions?",
            r"pleural\s+(?:and|or)\s+pericardial\s+effusions?",
        ),
    ),
    (
        "endotracheal_tube nasogastric_tube",
        (r"(?:endotracheal|et)\s+and\s+(?:nasogastric|ng|enteric|orogastric|og|feeding)\s+tubes",),
    ),
    (
        "pleural_effusion",
        (
            rf"fluid\s+(?:with)?in\s+{_gap(4)}fissures?",
            rf"fluid\s+(?:with)?in\s+{_gap(4)}costophrenic\s+(?:{MASK}|angles?|sulc(?:us|i))",
            rf"fluid\s+(?:with)?in\s+{_gap(4)}pleural\s+(?:{MASK}|spaces?|cavit(?:y|ies))",
        ),
    ),
    ("pneumothorax pleural_effusion", (r"(?:hydro|ha?emo)[\s-]?pneumo[\s-]?thora(?:x|ces)",)),
    (
        "lung_nodule lung_opacity",
        (rf"nodular(?:[\s-]like)?\s+(?:airspace\s+|lung\s+|pulmonary\s+|parenchymal\s+)?{_OPACITY}",),
    ),
    ("granuloma lung_opacity", (rf"calcifi(?:ed|c)\s+{_OPACITY}",)),
    ("lung_nodule", (r"non[\s-]?calcified\s+(?:\w+\s+){0,3}?nodules?",)),
    (
        "granuloma",
        (
            rf"calcifi(?:ed|c)\s+{_gap(3)}(?:granulomas?|granulomata)",
            r"granulomatous(?:\s+(?:diseases?|changes?|process|infection|exposure|residua\w*|sequela\w*|calcifications?"
            r"|nodules?))?",
        ),
    ),
    (
        "calcified_lymph_nodes",
        (
            rf"{_CALCIFIED}\s+{_gap(5)}(?:lymph\s+{MASK}|(?:lymph\s+)?nodes?|hil(?:um|a)\b|hilar\b)",
            r"(?:nodal|hilar)\s+(?:\w+\s+)?calcifications?",
        ),
    ),
    (
        "atelectasis",
        (
            rf"collapsed?\s+(?:of\s+)?{_gap(4)}(?:lungs?|lobes?|lingula)",
            r"(?:lung|lobe|lobar)\s+(?:is\s+|has\s+)?(?:\w+\s+)?collapsed?",
        ),
    ),
    (
        "pleural_other",
        (
            rf"pleural?[\s/-]+{_gap(3)}{_PLEURAL}",
            r"(?<=\beffusion\sversus\s)thickening|(?<=\beffusion\sor\s)thickening",
            rf"thickening\s+(?:of|in|along|within)\s+{_gap(4)}(?:fissures?|pleura)",
            rf"(?:bi)?apical\s+{_gap(2)}(?:capp?ing|caps?|thickening)",
            rf"fissural\s+{_gap(1)}thickening",
            rf"{_PLEURAL}\s+of\s+(?:\w+\s+){{0,3}}?pleura",
        ),
    ),
    (
        "vascular_congestion",
        (
            rf"{_MASKED_VESSELS}\s+{_verb_gap(3)}(?:engorged|congested)",
            rf"engorged\s+{_MASKED_VESSELS}",
            rf"{_VESSELS}\s+{_verb_gap(4)}(?:engorged|congested|prominent|increased|indistinct|cephali[sz]ed)",
            rf"(?:{_MORE}|indistinct(?:ness)?|increased)\s+(?:of\s+)?{_gap(4)}{_VESSELS}",
        ),
    ),
    (
        "interstitial_markings",
        (
            r"(?:interstitial|reticular|bronchial|reticulonodular)\s+(?:\w+\s+)?markings?",
            rf"prominen(?:t|ce)\s+{_gap(4)}interstitium",
            rf"(?:prominen(?:t|ce)|increased?|coarse(?:ned)?|accentuated)\s+{_gap(4)}"
            r"(?:lung|pulmonary)\s+(?:\w+\s+)?markings?",
        ),
    ),
    ("pneumoperitoneum", (r"free\s+(?:\w+[\s-]+){0,2}?air",)),
    (
        "hilar_enlargement",
        (
            rf"{_LARGE}\s+{_gap(4)}hil(?:um|a|ar)\b(?:\s+(?:contours?|regions?|shadows?|{MASK}|structures))?",
            rf"hil(?:um|a|ar\s+\w+)\s+{_verb_gap(2)}(?:prominent|enlarged|full)",
        ),
    ),
    ("lymphadenopathy", (rf"enlarged\s+{_gap(4)}(?:lymph\s+)?(?:nodes?|lymph\s+{MASK})",)),
    (
        "cardiomegaly",
        (
            rf"(?:enlarge(?:d|ment)|increased?)\s+(?:in\s+)?(?:(?:size|of)\s+)*{_gap(2)}"
            rf"(?:heart(?:\s+size)?|cardiac\s+(?:silhouette|size|shadow|contours?|{MASK}))",
        ),
    ),
    (
        "enlarged_cardiomediastinum",
        (
            rf"(?:{_LARGE}|widening|widened)\s+(?:of\s+)?{_gap(4)}mediastin(?:um|al\b)(?:\s+(?:silhouette|contours?))?",
            r"(?:prominent|enlarged|widened)\s+cardio-?mediastinal\s+(?:silhouette|contours?)",
        ),
    ),
    ("consolidation", (rf"consolidated\s+{_gap(4)}(?:lobes?|lungs?|lingula)",)),
    (
        "bone_deformity",
        (
            r"(?:compression|wedge|wedging|height\s+loss)\b(?!\s+fractur)(?:\s+deformit\w+)?"
            r"(?=[^.]*\b(?:vertebra|body|bodies|spine|thoracic|t\d))",
        ),
    ),
    (
        "spine_degeneration",
        (
            r"degenerative(?:\s+\w+){0,2}?\s+changes?|degenerative",
            r"spondylo\w+",
            r"osteophyt\w*",
        ),
    ),
    (
        "osteopenia",
        (
            rf"(?:bone|bony)\s+(?:mineral\s+)?(?:density|mineralization)\s+{_verb_gap(3)}"
            r"(?:decreased|diminished|reduced|low)",
        ),
    ),
    ("endotracheal_tube", (r"tube(?=[^.;,]{0,40}\bcarina\b)",)),
    (
        "scoliosis",
        (
            r"(?:dextro|levo)-?(?:scolio|convex|curv|rotary|rotato)\w*(?:\s+(?:curvature|deformity|scoliosis))?",
            r"curvature",
        ),
    ),
    (
        "pacemaker",
        (
            rf"(?:cardiac|dual|single|biventricular)[\s-]+{MASK}\s+{_FEW}(?:generator|device|leads?|pacer|pacemaker)",
            rf"cardiac\s+{MASK}(?=[^.]{{0,60}}\bleads?\b)",
            rf"(?:dual|single)[\s-]+{MASK}\s+cardiac\s+{MASK}",
            r"(?:pulse\s+)?generator",
        ),
    ),
    (
        "central_line",
        (
            rf"(?:{MASK}|port)-a-{MASK}",
            rf"(?:chest|subclavian|ij|jugular|central|port[\s-]a)[\s-]+{MASK}"
            r"(?=[^.]{0,80}\b(?:tip|svc|cavo\w*|catheter|vena)\b)",
            rf"(?:ij|jugular|subclavian|femoral|central)\s+{_gap(5)}(?:catheter|line|sheath|port)\b",
            r"catheters?(?=[^.;]{0,60}\b(?:svc|cavo\w*|vena|right\s+atrium)\b)",
            r"port\s+catheters?",
            r"port(?=\s+(?:tip|with|in\s+place))",
            r"(?:chest|sided|subclavian|jugular|ij|wall)\s+port\b(?:\s+catheters?)?",
        ),
    ),
    (
        "support_devices",
        (
            rf"leads?\s+{_FEW}overl(?:y|ie|ies|ying)\b",
            rf"overlying\s+{_FEW}leads?",
            r"electronic\s+device",
            rf"ivc\s+(?:filter|{MASK})",
            r"caval\s+filter",
        ),
    ),
    (
        "valve_prosthesis",
        (
            rf"(?:prosthetic|mechanical|artificial|replaced|bioprosthetic)\s+{_FEW}valves?",
            r"valves?\s+(?:\w+\s+)?(?:prosthes[ie]s|replacements?)",
        ),
    ),
)
