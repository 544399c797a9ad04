"""What every finding is called in reports: all entries of :mod:`radiology.vocabulary`, and phrases that mislead.

Phrases are in lower case and singular (plurals in -s and -es are understood); spaces also stand for hyphens. American
and British spellings and common typing errors stand side by side. Wordings whose parts may stand apart ("blunting of
the left costophrenic angle") are in :mod:`radiology.findings_patterns`.
"""

from __future__ import annotations

from radiology.vocabulary_bones import BONE_ENTRIES
from radiology.vocabulary_chexpert import CHEXPERT_ENTRIES
from radiology.vocabulary_devices import DEVICE_ENTRIES
from radiology.vocabulary_entry import Entry
from radiology.vocabulary_heart import HEART_ENTRIES
from radiology.vocabulary_lungs import LUNG_ENTRIES
from radiology.vocabulary_phantom import PHANTOM_ENTRIES

ENTRIES: tuple[Entry, ...] = (
    *PHANTOM_ENTRIES,
    *CHEXPERT_ENTRIES,
    *LUNG_ENTRIES,
    *HEART_ENTRIES,
    *BONE_ENTRIES,
    *DEVICE_ENTRIES,
)

_OTHER_MEANINGS = (
    "joint effusion, mass effect, soft tissue edema, soft tissue oedema, soft tissue swelling, bronchial wall "
    "edema, body mass, body mass index, bone density, bone mineral density, soft tissue density, soft tissue "
    "densities, breast density, laryngeal edema, cerebral edema, leg edema, soft tissue mass, pedal edema, lower "
    "extremity edema, peripheral edema, skin lesion, breast mass, thyroid mass, renal mass, abdominal mass, adrenal "
    "mass, brain mass, muscle mass, cardiac catheterization, density resolution, contrast density, external "
    "artifact, artifact density, pulmonary artery pressure, pneumonia vaccine, tb test, positive tb test, clip art, "
    "density of the bone, density of bone, edema of the soft tissue, edema in the soft tissue, effusion in the "
    "knee, knee effusion, shoulder effusion, elbow effusion, shoulder joint effusion, respiratory failure, renal "
    "failure, kidney failure, liver failure, hepatic failure, urinary tract infection, upper respiratory infection, "
    "viral infection, tubular density, tubular densities, free air fluid"
)

#: Phrases that hold a synonym but mean something else.
OTHER_MEANINGS: tuple[str, ...] = tuple(_OTHER_MEANINGS.split(", "))
