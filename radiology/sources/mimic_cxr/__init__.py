"""MIMIC-CXR, as JPG or DICOM, in the layout of PhysioNet."""
