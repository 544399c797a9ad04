"""How reports write findings of bones, and what operations and accidents left."""

from __future__ import annotations

from radiology.vocabulary_entry import Entry

BONE_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "scoliosis",
        "scoliosis",
        "scoliotic, dextroscoliosis, levoscoliosis, scoliotic curvature, dextrocurvature, levocurvature, scoliotic "
        "deformity, kyphoscoliosis, dextroconvex curvature, levoconvex curvature, s shaped curvature, curvature of "
        "the spine, curvature of the thoracic spine, spinal curvature, scoliotic change, spine curvature",
    ),
    Entry(
        "kyphosis",
        "kyphosis",
        "kyphotic curvature, exaggerated kyphosis, kyphotic deformity, thoracic kyphosis",
    ),
    Entry(
        "spine_degeneration",
        "degenerative change of the spine",
        "degenerative change, degenerative spine, spondylosis, degenerative disease, degenerative disc disease, "
        "degenerative disk disease, degenerative spurring, osteophyte, degenerative joint disease, endplate "
        "spurring, thoracic spondylosis, spondylitic change, spondylotic change, osteophytosis, osteophytic change, "
        "osteoarthritis, arthritic change, disc space narrowing, arthritis, degenerative spondylosis, degenerative "
        "osteophyte, degenerative endplate change, multilevel degenerative change, discogenic disease, discogenic "
        "degenerative disease, bridging osteophyte, marginal osteophyte, arthropathy, diffuse idiopathic skeletal "
        "hyperostosis, degenerative arthritis, degenerative disc change, osteophyte formation, hypertrophic change, "
        "hypertrophic spurring, spurring, djd, ddd, endplate sclerosis, syndesmophyte, degenerative findings, "
        "degenerative vertebral change, degenerative thoracic spondylosis, facet arthropathy",
    ),
    Entry(
        "osteopenia",
        "osteopenia",
        "osteoporosis, demineralization, demineralisation, osteopenic, osteoporotic, decreased bone density, "
        "decreased bone mineral density, decreased bone mineralization, bone demineralization, osteoporotic change, "
        "demineralized, undermineralized",
    ),
    Entry(
        "bone_deformity",
        "bone deformity",
        "compression deformity, compression deformities, wedge deformity, wedge deformities, vertebral body "
        "deformity, rib deformity, rib deformities, wedging, wedge compression, deformity of the rib, vertebral "
        "compression, vertebral wedging, anterior wedging, clavicle deformity, pectus excavatum, pectus deformity, "
        "pectus carinatum, loss of vertebral body height, vertebral body height loss, deformity, deformities, "
        "compressed vertebra, compression of the vertebral body",
        sided=True,
    ),
    Entry(
        "bone_lesion",
        "bone lesion",
        "osseous lesion, bony lesion, lytic lesion, sclerotic lesion, blastic lesion, osseous metastases, lytic "
        "bone lesion, sclerotic bone lesion, bone metastases, bony metastases, destructive lesion, destructive bone "
        "lesion, destructive bony lesion, bone destruction, rib lesion, destructive osseous lesion, bone island",
    ),
    Entry(
        "foreign_body",
        "foreign body",
        "foreign bodies, bullet, bullet fragment, shrapnel, metallic fragment, metallic foreign body, metallic "
        "density, metallic densities, ballistic fragment, radiopaque foreign body",
    ),
    Entry(
        "postsurgical_change",
        "postsurgical change",
        "post surgical change, postoperative change, post operative change, surgical change, thoracotomy change, "
        "thoracotomy, lobectomy, mastectomy, pneumonectomy, cabg, coronary artery bypass, coronary bypass, bypass "
        "graft, coronary artery bypass graft, cardiac surgery, cholecystectomy, post surgical scarring, prior "
        "surgery, wedge resection",
        sided=True,
    ),
)
