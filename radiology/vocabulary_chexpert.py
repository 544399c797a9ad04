"""How reports write the observations of CheXpert (arXiv 1901.07031) that the phantom chest does not have."""

from __future__ import annotations

from radiology.vocabulary_entry import Entry

CHEXPERT_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "atelectasis",
        "atelectasis",
        "atelectatic, atelectatic change, atelectases, atelectasis change, subsegmental atelectasis, discoid "
        "atelectasis, platelike atelectasis, plate like atelectasis, linear atelectasis, bandlike atelectasis, band "
        "like atelectasis, compressive atelectasis, passive atelectasis, rounded atelectasis, dependent "
        "atelectasis, atelectactic change, lobar collapse, collapse of the lung, lung collapse, collapsed lung, "
        "lower lobe collapse, upper lobe collapse, middle lobe collapse, atelectatic lung, atelectatic opacity, "
        "atelectatic opacities, atelactasis, atelectesis, pulmonary atelectasis, basilar atelectasis, bibasilar "
        "atelectasis",
        sided=True,
        broader="lung_opacity",
    ),
    Entry(
        "enlarged_cardiomediastinum",
        "enlarged cardiomediastinum",
        "enlarged cardiomediastinal silhouette, widened mediastinum, mediastinal widening, wide mediastinum, "
        "widening of the mediastinum, enlarged mediastinum, mediastinal enlargement, mediastinal prominence, "
        "prominent mediastinum, prominence of the mediastinum, prominence of the superior mediastinum, prominence "
        "of superior mediastinum, widening of the superior mediastinum, enlarged mediastinal silhouette, "
        "enlargement of the cardiomediastinal silhouette, enlarged mediastinal contour, mediastinal fullness, "
        "cardiomediastinal enlargement, mediastinal mass, paratracheal prominence, paratracheal fullness, "
        "prominence of the upper mediastinum, prominent superior mediastinum, prominence of the mediastinal contour",
    ),
    Entry(
        "fracture",
        "fracture",
        "fractured, rib fracture, fractured rib, compression fracture, clavicular fracture, clavicle fracture, fx, "
        "fracture deformity, fracture deformities, fractured clavicle, vertebral fracture, vertebral body fracture, "
        "fracture line, insufficiency fracture, bone fracture, bony fracture, sternal fracture",
        sided=True,
    ),
    Entry(
        "lung_lesion",
        "lung lesion",
        "lung mass, pulmonary mass, mass, masses, lesion, pulmonary lesion, cavitary lesion, neoplasm, tumor, "
        "tumour, mass like opacity, masslike opacity, mass like density, masslike density, mass lesion, mass "
        "density, lung masses, pulmonary masses, masslike consolidation, bronchogenic carcinoma, lung cancer, lung "
        "carcinoma, carcinoma, malignancy, pulmonary malignancy, metastasis, metastases, metastatic disease, "
        "pulmonary metastases, neoplastic process, pulmonary neoplasm, lung tumor, lung tumour, hilar mass, hilar "
        "masses, parenchymal mass",
        sided=True,
    ),
    Entry(
        "lung_opacity",
        "lung opacity",
        "opacity, opacities, opacification, airspace disease, air space disease, airspace opacity, airspace "
        "opacities, air space opacity, air space opacities, alveolar opacity, alveolar opacities, airspace process, "
        "air space process, alveolar airspace disease, alveolar process, alveolar disease, alveolar infiltrate, "
        "infiltrate, infiltration, pulmonary infiltrate, hazy opacity, hazy opacities, haziness, streakiness, "
        "interstitial opacity, interstitial opacities, interstitial infiltrate, airspace infiltrate, lung density, "
        "density, densities, opaciy, opacites, opacties, infiltrative process, hazy density, ground glass, ground "
        "glass opacity, ground glass opacities, increased density, parenchymal opacity, parenchymal opacities, "
        "parenchymal disease, parenchymal process, parenchymal density, airspace change, air bronchogram, pulmonary "
        "opacity, pulmonary opacities, pulmonary parenchymal disease, lung opacities, opacifications, infiltrative "
        "disease, infilrate, infiltate, interstitial airspace disease, airspace density, airspace densities, "
        "airspaced disease, streaky density, streaky densities",
        sided=True,
    ),
    Entry(
        "pleural_other",
        "other pleural finding",
        "pleural thickening, pleural plaque, pleural scarring, pleural scar, pleural calcification, calcified "
        "pleural plaque, pleural abnormality, pleuroparenchymal scarring, pleural parenchymal scarring, pleural "
        "parenchymal thickening, pleural and parenchymal scarring, pleural based scarring, pleural fibrosis, "
        "pleural peripheral scarring, apical pleural thickening, apical pleural scarring, fibrothorax, pleural "
        "reaction, pleural mass, apical capping, apical cap, fissural thickening, thickening of the fissure, "
        "pleural disease, pleural plaquing, pleural tenting, pleural lesion, thickened pleura, pleural change",
        sided=True,
    ),
    Entry(
        "pneumonia",
        "pneumonia",
        "pna, bronchopneumonia, aspiration pneumonia, infectious process, lung infection, pulmonary infection, "
        "chest infection, pneumonitis, aspiration pneumonitis, infectious infiltrate, multifocal pneumonia, lobar "
        "pneumonia, infectious etiology, infectious aetiology, atypical infection, infectious consolidation, "
        "pneumonic infiltrate, pneumonic process, pneumonic consolidation, pneumonias, pnuemonia, penumonia, active "
        "infection, infectious disease, atypical pneumonia, viral pneumonia, infection",
        sided=True,
        broader="consolidation",
    ),
    Entry(
        "support_devices",
        "support devices",
        "support device, lines and tubes, tubes and lines, support apparatus, monitoring and support device, "
        "neurostimulator, spinal stimulator, nerve stimulator, stimulator, closure device, medical device, assist "
        "device, ventricular assist device, intra aortic balloon pump, balloon pump, vp shunt, ventriculoperitoneal "
        "shunt, shunt catheter, shunt tubing, support line, implanted device, infusion pump, external device, "
        "monitoring device, implantable device, catheter, ekg lead, ecg lead, monitor lead, monitoring lead, "
        "cardiac monitor lead, telemetry lead, electrode, external cardiac monitor",
        kind="device",
    ),
    Entry(
        "no_finding",
        "no finding",
        "",
        kind="overall",
    ),
)
