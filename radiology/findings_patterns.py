"""One regular expression for all that can be named: the wordings of findings and the phrases of the vocabulary."""

from __future__ import annotations

import re
from functools import cache

from radiology.findings_wordings import WORDINGS
from radiology.vocabulary import CONCEPTS, NOT_CONCEPTS, Concept, concept_of_phrase, phrase_body, trie_body

#: How the wordings begin; a word that begins otherwise is compared with the phrases of the vocabulary only.
_STARTS = (
    "no ,no\t,no\n,normal,unremarkable,negative,fractur,wire,lead,screw,catheter,hardware,rod,sternotomy,ct ,"
    "mri ,tomograph,blunt,costo,cp ,elevat,hemi,diaphragm,flat,lung,inspirat,low,small,decreas,reduc,diminish,"
    "shallow,poor,subopt,hypo,hyper,over,calcif,aort,athero,arterio,tortu,ecta,unfold,uncoil,aneurysm,hydro,"
    "haemo,hemo,nodular,non,nodal,hil,collapse,lobe,lobar,pleura,pleural,thicken,bi,apical,fissural,scar,plaque,"
    "calcification,plaquing,pulmonary,engorge,vascul,vessels,prominen,congest,cephali,redistribut,indistinct,"
    "increas,interstitial,reticul,bronchial,coarse,accentuat,free,granulomat,full,enlarge,widen,compression,wedg,"
    "height,degenerat,spondylo,osteophyt,dextro,levo,curvature,cardiac,dual,single,biventric,pulse,generator,"
    "fluid,bone,pericard,endotr,et ,consolidated,stern,bony,tube,xxx,chest,subclav,ij,jugular,central,port,"
    "femoral,sided,wall,overlying,electronic,ivc,caval,prosthetic,mechanical,artificial,replaced,bioprosth,valve"
)

_GROUPS: tuple[str, ...] = tuple(f"w{number}" for number in range(len(WORDINGS)))
_CONCEPTS_OF_GROUP: dict[str, tuple[Concept, ...]] = {
    group: tuple(CONCEPTS[key] for key in keys.split()) for group, (keys, _) in zip(_GROUPS, WORDINGS, strict=True)
}


@cache
def finding_pattern() -> re.Pattern[str]:
    """Finds what is named in lower-case text, by wording or phrase. What a match names: :func:`concepts_of_match`."""
    groups = "|".join(f"(?P<{group}>{'|'.join(ways)})" for group, (_, ways) in zip(_GROUPS, WORDINGS, strict=True))
    return re.compile(rf"\b(?:(?={trie_body(_STARTS.split(','))})(?:{groups})|(?P<phrase>{phrase_body()}))(?!\w)")


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
