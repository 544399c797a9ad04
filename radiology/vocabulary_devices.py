"""How reports write devices that the phantom chest does not have."""

from __future__ import annotations

from radiology.vocabulary_entry import Entry, device

DEVICE_ENTRIES: tuple[Entry, ...] = (
    device(
        "chest_tube",
        "chest tube",
        "thoracostomy tube, pleural drain, pleural catheter, pleural tube, pigtail catheter, chest drain, "
        "thoracostomy catheter, pleural pigtail catheter, pleurx catheter, drainage catheter, pleural drainage "
        "catheter, thoracostomy, mediastinal drain, pigtail drain",
        sided=True,
    ),
    device(
        "tracheostomy_tube",
        "tracheostomy tube",
        "tracheostomy, tracheostomy cannula, tracheostomy device, trach tube",
    ),
    device(
        "valve_prosthesis",
        "valve prosthesis",
        "prosthetic valve, valve replacement, prosthetic heart valve, artificial valve, mechanical valve, "
        "bioprosthetic valve, prosthetic aortic valve, aortic valve replacement, mitral valve replacement, "
        "prosthetic mitral valve, valvular prosthesis, cardiac valve prosthesis, prosthetic cardiac valve, aortic "
        "valve prosthesis, mitral valve prosthesis, valve ring, annuloplasty ring, tavr, heart valve prosthesis, "
        "replaced valve, valvuloplasty, mechanical aortic valve",
    ),
    device(
        "surgical_clips",
        "surgical clips",
        "surgical clip, clip, cabg clip, mediastinal clip, cholecystectomy clip, vascular clip, hemoclip, surgical "
        "staple, staple, suture line, surgical suture, suture material, surgical material, staple line, chain "
        "suture, surgical sutures, mediastinal surgical clip",
        sided=True,
    ),
    device(
        "stent",
        "stent",
        "coronary stent, coronary artery stent, vascular stent, aortic stent, stent graft, aortic stent graft, "
        "endograft, tracheal stent, bronchial stent, esophageal stent, biliary stent",
    ),
    device(
        "orthopedic_hardware",
        "orthopedic hardware",
        "orthopaedic hardware, spinal hardware, fusion hardware, internal fixation, fixation hardware, pedicle "
        "screw, fixation plate, fixation screw, spinal fusion, hardware, shoulder arthroplasty, arthroplasty, "
        "spinal rod, harrington rod, cervical fusion, spinal fixation, vertebroplasty, kyphoplasty, fusion rod, "
        "plate and screw, shoulder prosthesis, humeral prosthesis, acdf, joint replacement, shoulder replacement, "
        "stabilization rod, surgical fixation, spine fusion, screw",
        sided=True,
    ),
)
