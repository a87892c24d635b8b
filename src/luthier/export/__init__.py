"""What leaves Luthier: an adapter or model as files for other programs, each compared with what was trained.

Every export is planned first (files, sizes, disk), written aside, verified, and only then takes its name.
"""
