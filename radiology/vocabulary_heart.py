"""How reports write other findings of heart, vessels and mediastinum."""

from __future__ import annotations

from radiology.vocabulary_entry import Entry

HEART_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "vascular_congestion",
        "vascular congestion",
        "pulmonary vascular congestion, pulmonary congestion, venous congestion, pulmonary venous congestion, "
        "vascular engorgement, pulmonary vascular engorgement, vascular prominence, pulmonary vascular prominence, "
        "central vascular prominence, vascular redistribution, cephalization, pulmonary venous hypertension, venous "
        "hypertension, prominent pulmonary vasculature, prominent vasculature, prominent pulmonary vascularity, "
        "increased vascularity, increased lung vascularity, increased pulmonary vascularity, engorged pulmonary "
        "vasculature, congestive change, vascular plethora, prominent lung vascularity, hilar vascular congestion, "
        "central vascular congestion, prominence of the pulmonary vasculature, prominence of the pulmonary "
        "vascularity, cephalisation, vascular indistinctness, indistinct vascular margination, venous engorgement, "
        "pulmonary venous engorgement, prominent central vasculature, prominent central vascularity, vascular "
        "fullness, hilar vascular fullness, pulmonary venous prominence, pulmonary vascular redistribution, "
        "prominent vascularity, congestion, prominence of the central pulmonary vasculature, prominent central "
        "pulmonary vasculature",
    ),
    Entry(
        "heart_failure",
        "heart failure",
        "failure, congestive heart failure, chf, cardiac failure, congestive failure, cardiac decompensation, "
        "congestive cardiac failure, left heart failure, failure pattern",
    ),
    Entry(
        "pericardial_effusion",
        "pericardial effusion",
        "pericardial fluid, pericardial effusions",
    ),
    Entry(
        "aortic_calcification",
        "aortic calcification",
        "calcified aorta, atherosclerotic aorta, aortic atherosclerosis, calcified thoracic aorta, atherosclerotic "
        "calcification, vascular calcification, calcification of the aorta, atherosclerosis, atherosclerotic "
        "change, atherosclerotic disease, atherosclerotic vascular disease, arteriosclerosis, calcified aortic "
        "knob, calcified aortic arch, calcified thoracic aortic arch, atherosclerotic vascular calcification, "
        "aortic arch calcification, atheromatous calcification, arteriosclerotic change, atherosclerotic plaque, "
        "coronary calcification, coronary artery calcification, calcification of the aortic arch, calcification of "
        "the thoracic aorta, aortic knob calcification, mitral annular calcification, calcific atherosclerosis, "
        "aortic sclerosis",
    ),
    Entry(
        "aortic_tortuosity",
        "aortic tortuosity",
        "tortuous aorta, ectatic aorta, tortuous thoracic aorta, ectatic thoracic aorta, aortic ectasia, unfolded "
        "aorta, unfolding of the aorta, unfolding of the thoracic aorta, tortuosity of the aorta, tortuosity of the "
        "thoracic aorta, uncoiled aorta, uncoiling of the aorta, dilated aorta, enlarged aorta, aortic aneurysm, "
        "thoracic aortic aneurysm, ectasia of the aorta, ectasia of the thoracic aorta, aortic dilatation, aortic "
        "dilation, prominent aorta, prominent thoracic aorta, tortuous descending thoracic aorta, tortuous "
        "descending aorta, tortuosity of the descending thoracic aorta, aortic elongation, elongated aorta, "
        "elongation of the aorta, aortic unfolding, prominent aortic knob, tortuosity of the descending aorta, "
        "aneurysmal dilatation",
    ),
    Entry(
        "mediastinal_shift",
        "mediastinal shift",
        "shift of the mediastinum, midline shift, tracheal deviation, tracheal shift, deviation of the trachea, "
        "shift of the heart, shift of mediastinum, shift of mediastinal structures, shift of the mediastinal "
        "structures",
    ),
)
