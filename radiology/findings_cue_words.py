"""Trigger phrases: words that decide what is said about a finding, by kind.

The trigger-and-scope idea is that of NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009); the lists are for
chest radiograph reports. Kinds that end in ``_back`` speak of what stands before them.
"""

from __future__ import annotations

_BE = r"(?:is|are|was|were|has been|have been|had been)"
_HAVE = r"(?:has|have|had)"
_CANNOT = r"(?:cannot|can not|can't|could not)"
_PARTLY = (
    r"(?:partial(?:ly)?|near(?:ly)?|almost|mostly|incomplete(?:ly)?|largely|essentially)"
    r"(?:[\s-]+(?:\w+ly|complete|total))?[\s-]+"
)
_SEEN = (
    r"(?:seen|identified|visuali[sz]ed|present|evident|demonstrated|appreciated|detected|noted|apparent|found|observed"
    r"|suspected|shown|visible|recogni[sz]ed)"
)
#: "Not seen on the prior study" says that something is new.
_BEFORE_NOW = (
    r"\s+(?:on|in|at)\s+(?:the\s+)?(?:\w+\s+)?(?:prior|previous|earlier|preceding|old|comparison)\b(?!\s+\w+\s+is\s+now)"
    r"|\s+(?:previously|before)\b"
)
#: What an apparent finding turns out to be.
_NOTHING_SEEN = r"(?:\w+\s+){0,3}?(?:nipples?|skin\s?folds?|artifact\w*|artefact\w*)"
_DOUBTED = r"(?:possible|suspected|probable|questioned|questionable|likely|suggested|not\s+excluded|a\s+possibility)"
_TASKS = (
    r"(?:evaluate|evaluation|assess|assessment|evaluated|assessed|evaluating|assessing|screening|workup|follow[\s-]up"
    r"|treated|treatment|asked|risk|predispos\w+)"
)

#: Kinds in order of precedence where two could start at the same place.
CUES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "skip",  # what follows is not a statement about this image
        (
            r"history of|h/o",
            rf"{_TASKS}\s+(?:for|of)(?=\s+(?!the\b))",
            r"(?:to\s+)?rule\s+out|r/o|please\s+exclude",
            r"if\s+there\s+is\s+(?:\w+\s+){0,2}?(?:concern|suspicion|question)\s+(?:for|of)",
            r"correlat\w+\s+(?:\w+\s+)?(?:for|with)",
            r"(?:to|could|can|would|might|helps?)\s+exclude",
            r"accounts?\s+for|(?:simulat|mimic)\w*",
            r"(?:document|ensure|confirm|assure|until|demonstrate)\s+(?:\w+\s+)?(?:resolution|clearing|stability)(?:\s+of)?",
            r"(?:(?<=ectomy\s)|(?<=resection\s)|(?<=surgery\s)|(?<=radiation\s)|(?<=therapy\s)|(?<=biopsy\s))for",
        ),
    ),
    (
        "same",
        (
            r"(?:no|without|not)\s+(?:\w+\s+){0,3}changes?\b(?:\s+(?:in|of))?",
            r"not\s+(?:\w+ly\s+)?(?:changed|increased|decreased|worsened|improved|progressed|grown|altered|resolved|cleared)",
            r"not\s+only",
            r"no\s+(?:\w+\s+){0,2}(?:increase|decrease|worsening|progression|improvement|enlargement)\s+(?:in|of)"
            r"(?=\s+(?:the|left|right|bilateral|small|size)\b)",
        ),
    ),
    ("partly", (rf"{_PARTLY}(?:resolved|cleared|resolution|clearing)", r"resolving")),
    (
        "skip_back",
        (
            r"(?<!may\s)(?<!might\s)(?<!could\s)(?<!likely\s)(?<!probably\s)"
            rf"(?:is|are|represents?|representing)\s+{_NOTHING_SEEN}",
        ),
    ),
    (
        "hedge_back",
        (
            rf"(?:may|might|could|likely|probably)\s+(?:be|represents?|representing|reflects?)\s+{_NOTHING_SEEN}",
            rf"{_CANNOT}\s+be\s+(?:\w+\s+)?(?:excluded|ruled\s+out|denied)|not\s+(?:\w+\s+)?excluded",
            r"(?:difficult|hard|impossible)\s+to\s+(?:\w+ly\s+)?(?:exclude|rule\s+out)(?=\s*(?:[.,;]|$))",
            rf"{_BE}\s+{_DOUBTED}(?=\s*(?:[.,;?]|$|(?:and|in|on|at|but|within|given|with)\b))",
            rf"{_BE}\s+not\s+(?:as\s+)?(?:well|clearly|fully|definitely|adequately)[\s-]+{_SEEN}",
            r"should\s+be\s+considered|if\s+(?:present|any)",
            r"(?:is|are)\s+(?:another|also\s+a|a)\s+(?:consideration|possibility)",
            r"(?:may|might|could)\s+(?:also\s+)?(?:be|have)\s+(?:present|developing|developed|seen|there)",
            r"(?:possible|likely|probable|questioned|suspected|questionable)(?=\s*(?:[.;?]|$))",
        ),
    ),
    (
        "resolved_back",
        (
            rf"(?:{_HAVE}|{_BE})\s+(?!{_PARTLY})(?:(?!not\b)\w+\s+){{0,2}}"
            r"(?:resolved|cleared|disappeared|removed|withdrawn(?!\s+(?:slightly|by|partially|partly|\d)))",
            r"removal(?!\s+of)",
        ),
    ),
    ("resolved", (r"no longer|resolution of|removal of|resolved|removed|clearing of",)),
    (
        "negation_back",
        (
            r"(?<!tip\s)(?<!tip\sis\s)(?<!tips\sare\s)"
            rf"(?:{_BE}\s+)?not\s+(?:\w+\s+)?{_SEEN}(?!{_BEFORE_NOW})",
            rf"{_BE}\s+(?:\w+ly\s+)?(?:absent|unlikely|negative(?!\s+for)|excluded|ruled\s+out|none)",
            rf"{_HAVE}\s+been\s+(?:excluded|ruled\s+out)",
            r"(?:absent|none|no|negative)(?=\s*(?:[.,;]|$))",
        ),
    ),
    (
        "normal_back",
        (
            r"(?:is|are|was|were|appears?|remains?)\s+(?:\w+ly\s+)?"
            r"(?:normal|unremarkable|within\s+(?:the\s+)?(?:normal|limits))",
            r"within\s+normal\s+limits",
        ),
    ),
    ("versus", (r"versus|vs\.?",)),
    (
        "hedge",
        (
            rf"(?:{_CANNOT}|difficult to)\s+(?:\w+ly\s+)?(?:exclude|rule\s+out)",
            r"possib(?:le|ly|ility of)|probabl[ey]|likely|suspect(?:ed)?|suspicio(?:us|n)\s+(?:for|of)",
            r"concern(?:ing)?\s+(?:for|of)|worrisome\s+for|question(?:able|ed|\s+of)?",
            r"may|maybe|might|could|suggest(?:s|ive|ing|ed|ion)?|equivocal|potential(?:ly)?",
            r"presum(?:ed|ably)|perhaps|consider(?:ation)?|differential|favou?r(?:s|ed|ing)?",
            r"(?:if|unless)|(?:appropriate|proper|right)\s+clinical",
        ),
    ),
    (
        "negation",
        (
            r"no|nothing|without|w/o|nor|neither|not|rather\s+than|absent|unlikely|denies",
            r"clear(?=\s+(?:focal\s+)?air\s?space)|clear\s+of|free\s+(?:of|from)|negative\s+for",
            r"absence\s+of|lack\s+of|lacks?|excludes?|ruled\s+out",
        ),
    ),
)

#: How cues begin: lets the many words that begin none pass at the cost of one comparison.
CUE_STARTS = (
    "h/o,hist,r/o,eval,assess,for,repres,document,ensure,confirm,assure,until,demonst,simulat,mimic,hard,imposs,"
    "account,would,help,screen,work,follow,treat,ask,risk,predis,to ,please,if ,correl,no,with,near,part,almost,"
    "most,incomp,large,essent,resol,clear,can,could,diff,is,are,w,has,have,had,may,might,rem,abs,neg,appear,vers,"
    "vs,poss,prob,like,susp,conc,quest,sugg,equi,poten,pres,perh,cons,fav,unless,appro,prop,right,free,nei,rath,"
    "unl,den,lack,excl,rul,should"
)

CHANGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "unchanged",
        (
            r"unchanged|unaltered|stable|similar|constant|still|again|as\s+before|redemonstrat\w+",
            r"(?:is|are)\s+(?:about\s+)?the\s+same|persist(?:s|ent|ing)?|remain(?:s|ing)?",
        ),
    ),
    (
        "new",
        (
            r"new(?:ly)?|interval\s+(?:\w+\s+)?(?:appearance|placement|insertion)|interval\s+development",
            rf"not\s+(?:\w+\s+)?{_SEEN}{_BEFORE_NOW}",
            r"(?:has|have)\s+(?:\w+\s+)?developed|developed\s+in\s+the\s+interval",
        ),
    ),
    (
        "worse",
        (
            r"increas(?:es?|ed|ing)|wors(?:e|ened|ening)|larger|bigger|progress(?:ed|ion|ive|ing)|enlarging|expanding",
            r"more\s+(?:prominent|extensive|conspicuous|pronounced|dense|apparent)|grown|exacerbat\w+",
        ),
    ),
    (
        "improved",
        (
            r"decreas(?:es?|ed|ing)|improv(?:ed|ing|ement)|smaller|less(?:ened)?(?!\s+(?:likely|than))|reduced",
            r"resolving|diminish(?:ed|ing)|clearing|regress(?:ed|ion)",
        ),
    ),
)

#: As :data:`CUE_STARTS`, for changes.
CHANGE_STARTS = (
    "unch,unal,stab,simil,const,still,again,as ,redem,is ,are ,persist,remain,new,not ,interv,has ,have ,devel,"
    "increas,wors,larg,big,progr,enlarging,expand,more ,grown,exac,decr,improv,small,less,reduc,resolving,dimin,"
    "clearing,regress"
)
