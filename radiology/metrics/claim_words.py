"""The words of report phrases in one form each: what is filler, what means the same, what implies what.

Used to tell whether one phrase follows from others. Lists are for English reports of chest radiographs.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from radiology.vocabulary import CONCEPTS


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is written as running text."""
    return frozenset(text.split())


#: Multi-word expressions → their one form, applied in this order to lower-case text.
_EXPRESSIONS: tuple[tuple[str, str], ...] = (
    (r"status\s+post|s/p|post\s?surgical changes?", " "),
    (r"(?:frontal|lateral|ap|pa)(?:\s+and\s+lateral)?\s+(?:chest|views?)\s+demonstrates?", " "),
    (r"compared?\s+(?:to|with)\s+(?:the\s+)?(?:previous|prior|last)\s+\w+|since\s+(?:the\s+)?(?:previous|prior|"
     r"last)\s+\w+", " "),
    (r"similar\s+to\s+(?:the\s+)?(?:previous|prior)(?:\s+\w+)?|without\s+(?:interval\s+)?change|"
     r"no\s+(?:interval\s+)?change", " unchanged "),
    (r"(?:at\s+(?:the\s+)?)?upper\s+limits?\s+of\s+normal|top\s+normal|borderline\s+(?:normal|enlarged)",
     " borderline "),
    (r"(?:normal|appropriate)\s+for\s+(?:the\s+)?(?:patient'?s?\s+)?age|age[\s-]appropriate", " normal "),
    (r"within\s+(?:the\s+)?normal\s+(?:limits?|range)|free\s+of\s+(?:disease|abnormalit(?:y|ies))", " normal "),
    (r"(?:outlines?|appears?)\s+normally", " normal "),
    (r"(?:not\s+(?:\w+ly\s+)?|un)remarkable", " normal "),
    (r"(?:well|normally|adequately|fully|clearly)[\s-]+(?:expanded|inflated|aerated|ventilated|expansion)",
     " inflated "),
    (r"normal\s+(?:degree\s+of\s+)?(?:lung\s+)?(?:inflation|aeration|expansion)", " inflated "),
    (r"hyper-?(?:inflated|inflation|expanded|expansion|aerated|lucent)", " hyperinflation "),
    (r"air\s?-?\s?space\s+(?:disease|process|consolidation)|infiltrative\s+process(?:es)?|infiltrat(?:es?|ions?)",
     " consolidation "),
    (r"pleural\s+fluid|hydrothorax", " pleural effusion "),
    (r"cardio-?\s?mediastin(?:al|um)(?:\s+(?:silhouettes?|contours?|structures?))?", " heart mediastinum "),
    (r"cardio-?pulmonary", " heart lung "),
    (r"(?:heart|cardiac)\s+(?:size|silhouettes?|shadow|contours?|borders?)|cardiac|heart", " heart "),
    (r"mediastin(?:al|um)(?:\s+(?:contours?|silhouettes?|structures?|shadow|width|borders?))?", " mediastinum "),
    (r"hil(?:ar|a|um)(?:\s+(?:contours?|structures?|shadows?))?", " hilum "),
    (r"osseous(?:\s+structures?)?|bon(?:y|ey)(?:\s+(?:structures?|thorax))?|skelet(?:al|on)(?:\s+structures?)?|"
     r"bones?(?:\s*/\s*joints?)?", " bone "),
    (r"pulmonary\s+(?:arter(?:y|ies)|vessels?|vascular(?:ity|ture)?|vasculature)|vascular(?:ity|ture)?|vasculature",
     " vessel "),
    (r"(?:dorsal|thoraco-?lumbar|thoracic|mid\s+to\s+lower\s+thoracic)\s+spine|vertebral\s+(?:column|bod(?:y|ies))|"
     r"spinal", " spine "),
    (r"(?:costophrenic|cp|costrophrenic)\s+(?:angles?|sulci|sulcus|recess(?:es)?)", " costophrenic "),
    (r"hemi-?diaphragms?|diaphragms?|diaphragmatic", " diaphragm "),
    (r"pleural\s+(?:spaces?|cavit(?:y|ies))", " pleura "),
    (r"(?:interstitial|reticular)\s+(?:appearing\s+)?(?:lung\s+)?(?:markings?|opacit(?:y|ies)|prominence|changes?|"
     r"pattern|densit(?:y|ies))", " interstitial "),
    (r"lower\s+(?:lung|lobes?|zones?)|bas(?:al|ilar|es?|ally)|lung\s+bases?", " lower "),
    (r"bi-?bas(?:al|ilar)", " bilateral lower "),
    (r"mid(?:dle)?[\s-]*(?:lung|lobes?|zones?)?\b", " mid "),
    (r"bi-?apical", " bilateral apical "),
    (r"\b(?:lung\s+)?apex\b|apices", " apical "),
    (r"both|bilaterally", " bilateral "),
    (r"left[\s-]sided?", " left "),
    (r"right[\s-]sided?", " right "),
    (r"(?:anterior\s+)?chest\s+walls?", " "),
    (r"(?:internal\s+)?(?:jugular|ij)", " jugular "),
    (r"right\s+atri(?:um|al)", " right_atrium "),
    (r"right\s+ventric(?:le|ular)", " right_ventricle "),
    (r"left\s+ventric(?:le|ular)", " left_ventricle "),
    (r"tracheostomy(?:\s+tube)?", " tracheostomy "),
    (r"in\s+(?:stable\s+|good\s+|appropriate\s+|standard\s+)?place", " "),
    (r"soft\s+tissues?", " softtissue "),
    (r"(?:upper\s+)?abdom(?:en|inal)", " abdomen "),
    (r"coronary\s+(?:artery\s+)?bypass(?:\s+graft(?:ing)?)?|cabg", " cabg "),
)  # fmt: skip
_EXPRESSION = [(re.compile(rf"(?<!\w)(?:{body})(?!\w)"), form) for body, form in _EXPRESSIONS]

#: Words that say nothing which another phrase would have to say too.
FILLER = word_set(
    """a an the of in on at to and or for with is are was were be been being has have had there this that
    these those it its as by from into over within seen noted identified evident visible visualized
    visualised demonstrated demonstrate demonstrates detected observed appreciated found present
    presence apparent appearance appear appears appearing show shows reveal reveals exhibit shown again
    also now some any evidence sign signs area areas region regions zone zones field fields lung lungs
    pulmonary chest thorax thoracic lobe lobes space parenchyma parenchymal patient radiograph
    radiographically image imaged imaging study exam examination portion visualise structure structures
    contour contours silhouette configuration size shape degree caliber calibre position degree
    remainder remaining rest otherwise currently overall general generally approximately about project
    projects projecting overlying overlie overlies involving along located site amount material change
    changes s finding findings view views aspect feature features sized other none identifiable
    discernible radiographic cath subtle subtly"""
)

#: Qualities that a denial needs not repeat: "no focal consolidation" says as much as "no consolidation".
WEAK_IN_DENIALS = word_set(
    """focal acute active confluent definite discrete obvious gross frank significant significantly overt
    convincing suspicious large airspace pleural lobar acutely new remain dense appreciable currently
    further additional developing clinically normal"""
)

#: Form: words that mean as much.
_SYNONYMS = """
normal: normal clear intact sharp smooth midline patent preserved maintained unremarkable well
enlarged: enlarged enlargement widened widening prominent prominence dilated dilatation fullness bigger
unchanged: stable unchanged persistent persist persists persisting constant still remain remains
worse: worse worsened worsening increase increased increasing larger progressed progression progressive
improved: improve improved improving improvement decrease decreased decreasing smaller resolving reduced
new: new newly developed
minimal: trace tiny minimal minimally
mild: small mild mildly slight slightly
moderate: moderate moderately
severe: large marked markedly severe severely massive extensive
calcified: calcified calcification calcifications calcific atherosclerotic atherosclerosis
tortuous: tortuous tortuosity uncoiling uncoiled unfolding unfolded ectatic ectasia
degenerative: degenerative spondylosis spondylitic arthritic spondylotic
old: old chronic remote healed
adenopathy: adenopathy lymphadenopathy
scar: scar scars scarring scarred
aorta: aorta aortic knob knuckle
tip: terminate terminates terminating end ends ending tip tips
rib: rib ribs
abnormality: abnormality abnormalities abnormal disease process lesion lesions
opacity: opacity opacities opacification density densities opaque
flattened: flattened flattening
thickened: thickened thickening
osteopenia: osteoporotic osteopenic demineralized demineralised osteopenia osteoporosis demineralization
atelectasis: atelectatic atelectasis atelectases
hazy: hazy haziness
lower: low
cava: svc cava
"""
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"


def _forms() -> dict[str, str]:
    """Word → its one form; an empty form is filler."""
    table = {"vena": "", "superior": ""}
    for line in _SYNONYMS.strip().replace("\n  ", " ").splitlines():
        form, _, words = line.partition(": ")
        table |= dict.fromkeys(words.split(), form)
    return table | {word: str(number) for number, word in enumerate(_ORDINALS.split(), start=1)}


_SAME = _forms()

#: Words of a mention → a head of its own, where the concept of the vocabulary is wider than what phrases tell apart.
_HEADS: tuple[tuple[str, str], ...] = (
    (r"consolidat|infiltrat|air\s?-?space\s+(?:disease|process)", "consolidation"),
    (r"blunt", "costophrenic_blunting"),
    (r"congestion|vascular prominence", "vascular_congestion"),
    (r"heart failure|\bchf\b|fluid overload", "heart_failure"),
    (r"aneurysm", "aneurysm"),
    (r"\bmass", "lung_mass"),
    (r"defibrillator|\ba?icd\b", "defibrillator"),
    (r"granuloma", "granuloma"),
    (r"volume loss", "volume_loss"),
    (r"interstitial (?:edema|oedema)", "pulmonary_edema"),
    (r"interstitial|reticul", "interstitial"),
    (r"nodul", "lung_nodule"),
    (r"opaci|densit", "lung_opacity"),
)
_HEAD = [(re.compile(body), head) for body, head in _HEADS]

#: Concepts that phrases also write in separate words: those words, so that both ways meet.
_IN_WORDS: dict[str, tuple[str, ...]] = {
    "aortic_calcification": ("calcified", "aorta"),
    "aortic_tortuosity": ("tortuous", "aorta"),
    "spine_degeneration": ("degenerative",),
    "lymphadenopathy": ("adenopathy",),
    "hilar_enlargement": ("hilum", "enlarged"),
    "flattened_diaphragm": ("flattened", "diaphragm"),
    "elevated_hemidiaphragm": ("elevated", "diaphragm"),
    "costophrenic_blunting": ("blunted", "costophrenic"),
    "bone_lesion": ("osseous_lesion",),
    "scarring": ("scar",),
}

#: Words inside of a mention that say more than its head.
_KEPT_OF_MENTION = word_set(
    """left right bilateral upper mid lower apical hilum mediastinum rib spine clavicle vertebra linear
    subsegmental platelike discoid calcified compression wedge displaced loculated tension patchy hazy
    nodular parenchymal jugular subclavian femoral picc dialysis"""
)

#: Head or word → what it implies, besides what the vocabulary says is broader.
_IMPLIES: dict[str, tuple[str, ...]] = {
    "consolidation": ("lung_opacity", "opacity"),
    "pneumonia": ("consolidation",),
    "lung_opacity": ("opacity", "abnormal_lung"),
    "lung_mass": ("lung_lesion",),
    "lung_nodule": ("lung_lesion",),
    "lung_lesion": ("abnormal_lung",),
    "granuloma": ("lung_nodule",),
    "atelectasis": ("abnormal_lung",),
    "pulmonary_edema": ("vascular_congestion", "abnormal_lung"),
    "vascular_congestion": ("abnormal_vessel",),
    "interstitial": ("abnormal_lung",),
    "fibrosis": ("abnormal_lung",),
    "emphysema": ("abnormal_lung",),
    "pleural_effusion": ("abnormal_pleura",),
    "pneumothorax": ("abnormal_pleura",),
    "pleural_other": ("abnormal_pleura",),
    "cardiomegaly": ("abnormal_heart",),
    "fracture": ("abnormal_bone",),
    "scoliosis": ("abnormal_bone",),
    "kyphosis": ("abnormal_bone",),
    "bone_deformity": ("abnormal_bone",),
    "scar": ("abnormal_lung",),
    "lung_cavity": ("abnormal_lung",),
    "bronchial_thickening": ("abnormal_airway",),
    "abnormal_rib": ("abnormal_bone",),
    "degenerative": ("abnormal_bone",),
    "osteopenia": ("abnormal_bone",),
    "osseous_lesion": ("abnormal_bone",),
    "enlarged_cardiomediastinum": ("abnormal_mediastinum",),
    "defibrillator": ("pacemaker",),
    "bilateral": ("left", "right"),
    "lingula": ("left",),
    "retrocardiac": ("lower",),
    "rib": ("abnormal_bone",),
    "clavicle": ("abnormal_bone",),
    "spine": ("abnormal_bone",),
}

#: Parts of the body that phrases call normal or abnormal as a whole.
ORGANS = word_set(
    """heart lung mediastinum hilum bone vessel spine costophrenic diaphragm pleura trachea aorta
    softtissue abdomen airway interstitial rib"""
)

_TOKEN = re.compile(r"\d+(?:\.\d+)?|[a-z_]+")
_NUMBERED = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")


def rewrite(lowered: str) -> str:
    """Lower-case words with multi-word expressions in their one form."""
    for pattern, form in _EXPRESSION:
        lowered = pattern.sub(form, lowered)
    return lowered


def canonical_words(rewritten: str) -> list[str]:
    """The words of rewritten text in their one form and order; filler is left out, "lung" is kept for the caller."""
    words = []
    for word in _TOKEN.findall(_NUMBERED.sub(r"\1", rewritten)):
        form = _one_form(word)
        if form and (form not in FILLER or form == "lung"):
            words.append(form)
    return words


@lru_cache(maxsize=65536)
def _one_form(word: str) -> str:
    if word in ("lung", "lungs"):
        return "lung"
    for stem in (word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("ly")):
        if stem in _SAME:
            return _SAME[stem]
    if word in FILLER or word.endswith(("ss", "us", "is")) or len(word) < 4:
        return word
    return word.removesuffix("s")


@lru_cache(maxsize=16384)
def mention_words(named: str, concept: str) -> frozenset[str]:
    """What the words of a mention come to: its head (or the words for it), and what they say besides."""
    head = next((head for pattern, head in _HEAD if pattern.search(named)), concept)
    own = frozenset(canonical_words(rewrite(named))) & _KEPT_OF_MENTION
    return frozenset(_IN_WORDS.get(head, (head,))) | own


@cache
def implied(word: str) -> frozenset[str]:
    """A head or word and all that it implies."""
    found: set[str] = set()
    waiting = [word]
    while waiting:
        present = waiting.pop()
        if present in found:
            continue
        found.add(present)
        waiting += _IMPLIES.get(present, ())
        broader = CONCEPTS[present].broader if present in CONCEPTS else None
        if broader is not None and broader != "enlarged_cardiomediastinum":
            waiting.append(broader)
    return frozenset(found)
