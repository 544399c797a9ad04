"""How reports write other findings of lungs, airways, hila, pleura and diaphragm."""

from __future__ import annotations

from radiology.vocabulary_entry import Entry

LUNG_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "hernia",
        "hernia",
        "hiatal hernia, hiatus hernia, hiatial hernia, diaphragmatic hernia, bochdalek hernia, morgagni hernia, "
        "paraesophageal hernia, intrathoracic stomach, herniation",
    ),
    Entry(
        "emphysema",
        "emphysema",
        "emphysematous change, emphysematous disease, bullous change, bullous disease, copd, bulla, bullae, bleb, "
        "bullous emphysema, pulmonary emphysema, chronic obstructive pulmonary disease, obstructive pulmonary "
        "disease, obstructive lung disease, chronic obstructive lung disease, pulmonary disease chronic "
        "obstructive, emphysematous lung, centrilobular emphysema",
    ),
    Entry(
        "fibrosis",
        "fibrosis",
        "pulmonary fibrosis, interstitial fibrosis, fibrotic change, interstitial lung disease, honeycombing, "
        "interstitial disease, chronic interstitial change, interstitial change, chronic interstitial lung disease, "
        "fibrotic disease, lung fibrosis, fibrosing change, fibrotic scarring, interstitial pulmonary fibrosis, "
        "cystic fibrosis",
        sided=True,
    ),
    Entry(
        "granuloma",
        "granuloma",
        "calcified granuloma, granulomatous disease, granulomata, granulomatous change, granulomatous infection, "
        "granulomatous process, granulomatous exposure, granulomatous calcification, calcified granulomatous "
        "disease, calcified granulomas, granulomatous sequela, granulomatous residual, calcified lung granuloma",
        sided=True,
        broader="lung_nodule",
    ),
    Entry(
        "scarring",
        "lung scarring",
        "scarring, scar, parenchymal scarring, parenchymal scar, fibronodular scarring, linear scarring, "
        "postinflammatory change, cicatrix, fibronodular change, parenchymal band",
        sided=True,
    ),
    Entry(
        "interstitial_markings",
        "increased interstitial markings",
        "interstitial prominence, interstitial thickening, reticular marking, reticular pattern, reticulation, "
        "reticular change, coarse interstitial marking, septal line, interstitial pattern, interstitial process, "
        "interstitial abnormality, coarsened interstitial marking, septal thickening, prominent lung marking, "
        "prominence of the interstitium, prominent interstitium, coarsened interstitium, interstitial coarsening, "
        "prominence of the interstitial marking, prominence of interstitial marking",
    ),
    Entry(
        "bronchial_thickening",
        "bronchial wall thickening",
        "peribronchial cuffing, peribronchial thickening, bronchial thickening, bronchial cuffing, bronchitis, "
        "bronchitic change, peribronchial wall thickening, bronchovascular thickening, airway thickening, small "
        "airways disease, reactive airways disease, reactive airway disease, bronchiolitis, small airway disease, "
        "bronchiectasis, bronchiectatic change",
    ),
    Entry(
        "bronchovascular_crowding",
        "bronchovascular crowding",
        "vascular crowding, crowding of the bronchovascular marking, crowding of bronchovascular marking, "
        "bronchovascular marking, crowding of the pulmonary vasculature, crowding of the vascular marking, crowding "
        "of pulmonary vasculature",
    ),
    Entry(
        "lung_cavity",
        "lung cavity",
        "cavitation, cavity, cavities, cavitary change, cavitary disease",
        sided=True,
    ),
    Entry(
        "tuberculosis",
        "tuberculosis",
        "tb, active tb, active tuberculosis, pulmonary tuberculosis, miliary tuberculosis, cavitary tuberculosis, "
        "mycobacterial infection",
    ),
    Entry(
        "hyperinflation",
        "hyperinflation",
        "lung hyperinflation, hyperexpansion, hyperaeration, overinflation, hyperinflated lung, hyperexpanded lung, "
        "hyperdistention, hyperdistended lung, pulmonary hyperinflation, pulmonary hyperexpansion, hyperinflated, "
        "hyperexpanded, hyperaerated, hyperdistended, hyperlucent lung, air trapping, overexpanded, overinflated, "
        "hyperventilated, hyperlucency, increased lung volume, increased retrosternal airspace, expanded "
        "retrosternal airspace, barrel chest, hyper expanded, hyper inflated, increased ap diameter, large lung "
        "volume, hyperlucent, hyperextended lung, hyperventilation",
    ),
    Entry(
        "low_lung_volumes",
        "low lung volumes",
        "hypoinflation, low lung volume, hypoinflated lung, hypoinflated, underinflated, underinflation, "
        "hypoventilation, hypoventilatory change, shallow inspiration, poor inspiration, poor inspiratory effort, "
        "shallow inspiratory effort, low inspiratory volume, reduced lung volume, decreased lung volume, diminished "
        "lung volume, small lung volume, low volume, low inspiratory effort, poor inspiratory result, hypoaeration, "
        "hypoexpanded, hypoexpansion, underexpanded, suboptimal inspiration, low volume lung, low volume chest, "
        "hypoventilated, underventilated, incomplete inspiration, limited inspiration, decreased inspiratory "
        "effort, suboptimal inspiratory effort, hypoaerated",
    ),
    Entry(
        "volume_loss",
        "volume loss",
        "loss of volume, loss of lung volume, lung volume loss",
        sided=True,
    ),
    Entry(
        "lymphadenopathy",
        "lymphadenopathy",
        "adenopathy, enlarged lymph node, hilar adenopathy, mediastinal adenopathy, hilar lymphadenopathy, "
        "mediastinal lymphadenopathy, paratracheal adenopathy, lymph node enlargement, adenopathies, bulky lymph "
        "node, prominent lymph node",
        sided=True,
    ),
    Entry(
        "hilar_enlargement",
        "hilar enlargement",
        "hilar prominence, hilar fullness, prominent hilum, prominent hila, enlarged hilum, enlarged hila, fullness "
        "of the hilum, prominence of the hila, prominence of the hilum, enlarged hilar contour, prominent hilar "
        "contour, enlarged pulmonary artery, prominent pulmonary artery, enlarged pulmonary arteries, prominent "
        "pulmonary arteries, hilar shadow enlargement, hilar opacity",
        sided=True,
    ),
    Entry(
        "calcified_lymph_nodes",
        "calcified lymph nodes",
        "calcified lymph node, calcified hilar lymph node, calcified mediastinal lymph node, calcified hilar node, "
        "calcified node, hilar calcification, calcified mediastinal node, calcified hilar and mediastinal lymph "
        "node, calcified hilum, calcified hila, nodal calcification, lymph node calcification, calcified "
        "adenopathy, calcified lymphadenopathy",
        sided=True,
    ),
    Entry(
        "azygos_lobe",
        "azygos lobe",
        "azygos fissure, azygous lobe, azygous fissure",
    ),
    Entry(
        "sarcoidosis",
        "sarcoidosis",
        "sarcoid",
    ),
    Entry(
        "costophrenic_blunting",
        "costophrenic angle blunting",
        "blunting of the costophrenic angle, blunting of the costophrenic sulcus, costophrenic blunting, "
        "costophrenic sulcus blunting, blunted costophrenic angle, blunted costophrenic sulcus, cp angle blunting, "
        "blunting of the cp angle",
        sided=True,
    ),
    Entry(
        "elevated_hemidiaphragm",
        "elevated hemidiaphragm",
        "elevated diaphragm, hemidiaphragm elevation, diaphragmatic elevation, diaphragm elevation, elevation of "
        "the hemidiaphragm, elevation of the diaphragm, elevated hemi diaphragm, high riding diaphragm, "
        "eventration, eventration of the diaphragm, diaphragmatic eventration, diaphragm eventration, eventration "
        "of the hemidiaphragm",
        sided=True,
    ),
    Entry(
        "flattened_diaphragm",
        "flattened diaphragm",
        "flattened hemidiaphragm, flattening of the diaphragm, diaphragmatic flattening, flat diaphragm, flattening "
        "of the hemidiaphragm, flattening of diaphragm, diaphragm flattening, flattening of hemidiaphragm",
    ),
    Entry(
        "pneumoperitoneum",
        "pneumoperitoneum",
        "free air, free intraperitoneal air, free peritoneal air, intraperitoneal air, free subdiaphragmatic air, "
        "subdiaphragmatic free air, intraperitoneal free air, free intra abdominal air, pneumo peritoneum, free "
        "intra peritoneal air, free abdominal air, peritoneal free air",
    ),
    Entry(
        "subcutaneous_emphysema",
        "subcutaneous emphysema",
        "subcutaneous air, subcutaneous gas, soft tissue emphysema, soft tissue gas, surgical emphysema, chest wall "
        "emphysema, soft tissue air",
        sided=True,
    ),
    Entry(
        "pneumomediastinum",
        "pneumomediastinum",
        "mediastinal emphysema, mediastinal air, pneumopericardium, mediastinal gas",
    ),
)
