"""How reports write the findings of the phantom chest."""

from __future__ import annotations

from radiology.vocabulary_entry import Entry, device

#: The findings of the phantom chest, in its order.
PHANTOM_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "pleural_effusion",
        "pleural effusion",
        "effusion, pleural fluid, pleural fusion, plural effusion, pleural effision, pleural effussion, "
        "hydrothorax, hemothorax, haemothorax, layering fluid, parapneumonic effusion, pleural fluid collection, "
        "empyema, fluid in the fissure, fissural fluid, loculated fluid, pleural collection, chylothorax",
        sided=True,
    ),
    Entry(
        "cardiomegaly",
        "cardiomegaly",
        "cardiac enlargement, heart enlargement, enlarged heart, enlarged cardiac silhouette, enlarged heart size, "
        "enlargement of the heart, enlargement of the cardiac silhouette, enlargement of cardiac silhouette, "
        "cardiac silhouette enlargement, cardiomegally, cardiomegly, megalocardia, borderline heart size, "
        "borderline cardiac size, borderline size heart, large heart, prominent heart, prominent heart size, "
        "prominent cardiac silhouette",
        broader="enlarged_cardiomediastinum",
    ),
    Entry(
        "pneumothorax",
        "pneumothorax",
        "pneumothoraces, pneumothoracies, pneumothoraxes, pneumothoracis, pneumothoreces, pnemothorax, "
        "pneumothroax, pneumothoax, pneumthorax, apical pneumothorax, tension pneumothorax, ptx, pleural air "
        "collection, pleural air",
        sided=True,
    ),
    Entry(
        "consolidation",
        "consolidation",
        "focal consolidation, airspace consolidation, air space consolidation, lobar consolidation, alveolar "
        "consolidation, parenchymal consolidation, consolidative opacity, consolidative opacities, consolidative "
        "process, consolidative change, consolidative airspace disease, consolidated lung, consolidaton, "
        "consolodation",
        sided=True,
        broader="lung_opacity",
    ),
    Entry(
        "pulmonary_edema",
        "pulmonary edema",
        "edema, oedema, pulmonary oedema, interstitial edema, interstitial oedema, alveolar edema, alveolar oedema, "
        "interstitial pulmonary edema, interstitial pulmonary oedema, fluid overload, volume overload, kerley b "
        "line, kerley line, flash edema",
        broader="lung_opacity",
    ),
    Entry(
        "lung_nodule",
        "lung nodule",
        "nodule, pulmonary nodule, calcified nodule, calcified pulmonary nodule, calcified lung nodule, nodular "
        "opacity, nodular opacities, nodular density, nodular densities, nodular airspace opacity, nodular like "
        "opacity, nodular focus, nodular foci, nodularity, pulmonary micronodule, micronodule, nodular lesion, "
        "nodular shadow, coin lesion",
        sided=True,
        broader="lung_lesion",
    ),
    device(
        "pacemaker",
        "pacemaker",
        "cardiac pacemaker, pacer, pacemaker lead, pacer lead, pacing lead, pacemaker device, icd, aicd, cardiac "
        "device, cardiac conduction device, conduction device, cardiac pacing device, cardiac rhythm device, "
        "pacemaker generator, pacing device, pacer wire, pacing wire, pacemaker wire, biventricular pacer, "
        "defibrillator, cardioverter defibrillator, icd lead, aicd lead, biventricular icd, loop recorder",
        sided=True,
    ),
    device(
        "endotracheal_tube",
        "endotracheal tube",
        "et tube, ett, tracheal tube, endotracheal intubation",
    ),
    device(
        "nasogastric_tube",
        "nasogastric tube",
        "ng tube, ngt, enteric tube, feeding tube, orogastric tube, og tube, ogt, gastric tube, nasoenteric tube, "
        "nasoenteric feeding tube, dobbhoff tube, dobbhoff, dobhoff tube, dobhoff, enteric catheter, enteric "
        "suction catheter, weighted feeding tube, gastrostomy tube, peg tube",
    ),
    device(
        "central_line",
        "central line",
        "central venous catheter, central venous line, central catheter, venous catheter, cvc, picc, picc line, "
        "picc catheter, ij line, ij catheter, jugular line, jugular catheter, jugular central venous catheter, "
        "internal jugular catheter, internal jugular line, internal jugular central venous catheter, vascular "
        "catheter, subclavian line, subclavian catheter, subclavian central venous catheter, port a cath, "
        "portacath, port cath, portacatheter, port catheter, chest port, chest port catheter, mediport, mediport "
        "catheter, infusion port, medi port, dialysis catheter, hemodialysis catheter, swan ganz catheter, swan "
        "ganz, pulmonary artery catheter, venous port, powerport, hickman catheter, permacath, dual lumen catheter, "
        "double lumen catheter, tunneled catheter, indwelling catheter, vascular access device, ij central venous "
        "catheter, peripherally inserted central catheter, venous sheath",
        sided=True,
    ),
    device(
        "sternotomy_wires",
        "sternotomy wires",
        "sternotomy wire, sternal wire, median sternotomy wire, median sternotomy, sternotomy, cerclage wire, "
        "sternotomy suture, sternal suture, midline sternotomy, midline sternotomy wire, sternal cerclage wire",
    ),
)
